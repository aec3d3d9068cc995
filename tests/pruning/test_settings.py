import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.passes.prune import ImportanceName
from edgekit.pruning.settings import PruningSettings, RecoverySettings, parse_size


def test_nothing_given_is_no_pruning():
    assert PruningSettings.of({}) is None
    assert PruningSettings.of({"prune": None, "strict": False, "recover": False, "threads": 2}) is None


def test_everything_given():
    keywords = {"prune": 0.25, "max_latency": 2, "max_bytes": "1.5MB", "importance": "l2", "strict": True}
    training = {"recover": True, "recover_minutes": 5, "quantization_aware": True, "temperature": 2.0}
    found = PruningSettings.of(keywords | training)
    assert found == PruningSettings(0.25, 2.0, 1_500_000, ImportanceName.L2, True, RecoverySettings(5.0, True, 2.0))
    assert found.flags == "--prune 0.25 --max-latency 2 --max-bytes 1500000"


def test_recovery_takes_20_minutes_by_default():
    found = PruningSettings.of({"prune": 0.1, "recover": True})
    assert found is not None and found.recovery == RecoverySettings(20.0, False, None)


@pytest.mark.parametrize("ratio", [0, 0.0, -0.1, 1, 1.0, 2.5, math.nan, math.inf, -math.inf, True, "0.5"])
def test_a_share_is_between_0_and_1(ratio):
    with pytest.raises(UsageError, match=f"--prune {str(ratio).removesuffix('.0')}: expected the share"):
        PruningSettings.of({"prune": ratio})


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_every_share_between_is_taken(ratio):
    found = PruningSettings.of({"prune": ratio})
    assert found is not None and found.ratio == ratio


@pytest.mark.parametrize("key", ["max_latency", "recover_minutes", "temperature"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_times_and_temperatures_are_above_0(key, value):
    with pytest.raises(UsageError, match=f"--{key.replace('_', '-')} {value}: expected .*more than 0"):
        PruningSettings.of({"prune": 0.5, "recover": True, key: value})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1500000, 1500000),
        ("1500000", 1500000),
        ("1.5MB", 1500000),
        ("800KB", 800000),
        ("800 kB", 800000),
        ("1MiB", 1 << 20),
        ("0.5 GiB", 1 << 29),
        ("7B", 7),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "0.2", "0", "-1MB", "1e3", "12M", "1 0MB", "nan", "1MBit", "1,5MB", True])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="--max-bytes"):
        parse_size(text)


@given(st.integers(1, 10**12))
def test_bytes_are_taken_as_they_are(size):
    assert parse_size(size) == parse_size(str(size)) == size


@pytest.mark.parametrize("keywords", [{"importance": "l1"}, {"strict": True}, {"recover": True}])
def test_what_means_nothing_without_a_budget(keywords):
    (flag,) = keywords
    with pytest.raises(UsageError, match=f"--{flag}: nothing is pruned; expected --prune RATIO, --max-latency MS or"):
        PruningSettings.of(keywords)


@pytest.mark.parametrize(
    "keywords", [{"recover_minutes": 5}, {"quantization_aware": True}, {"temperature": 1.0}, {"recover_minutes": 0}]
)
def test_what_means_nothing_without_recovery(keywords):
    (key,) = keywords
    with pytest.raises(UsageError, match=f"--{key.replace('_', '-')}: nothing is trained; expected --recover"):
        PruningSettings.of({"prune": 0.5, **keywords})


def test_a_misspelt_importance_names_the_nearest():
    with pytest.raises(UsageError, match=r'--importance bn_scale: expected one of obs, .*did you mean "bn-scale"'):
        PruningSettings.of({"prune": 0.5, "importance": "bn_scale"})
