import sys
from pathlib import Path

import pytest

from edgekit.errors import DataError, DependencyError, UsageError
from edgekit.passes.prune import ImportanceName
from edgekit.profiles.target import Target, load_target
from edgekit.pruning.requirements import channel_multiple, common_scheme, require_pruning
from edgekit.pruning.settings import PruningSettings
from edgekit.settings import ExportSettings


def settings(**keywords) -> ExportSettings:
    return ExportSettings.of(Path("model.onnx"), keywords)


def profile(folder: Path, name: str, pruning: str) -> Target:
    path = folder / f"{name}.toml"
    path.write_text(f'description = "mine"\nextends = "x86-64"\n[pruning]\n{pruning}\n')
    return load_target(str(path))


def test_one_network_for_all_targets_has_their_least_common_multiple(tmp_path):
    targets = [load_target("x86-64"), profile(tmp_path, "twelve", "channel_multiple = 12")]
    assert common_scheme(targets, PruningSettings(0.5)).channel_multiple == channel_multiple(targets) == 24


def test_different_importances_need_a_choice(tmp_path):
    targets = [load_target("x86-64"), profile(tmp_path, "other", 'importance = "l1"')]
    with pytest.raises(UsageError, match=r"\(x86-64 obs, other l1\); choose one with --importance"):
        common_scheme(targets, PruningSettings(0.5))
    chosen = common_scheme(targets, PruningSettings(0.5, importance=ImportanceName.TAYLOR, strict=True))
    assert chosen.importance is ImportanceName.TAYLOR and chosen.strict


@pytest.mark.parametrize("importance", ["obs", "activation", "taylor"])
def test_strict_wants_data_for_what_needs_it(importance):
    with pytest.raises(DataError, match=f"--strict: the importance {importance} needs samples: give --calibration"):
        require_pruning([load_target("x86-64")], settings(prune=0.5, importance=importance, strict=True))


@pytest.mark.parametrize("importance", ["l1", "l2", "bn-scale", "random"])
def test_strict_lets_through_what_needs_no_data(importance):
    require_pruning([load_target("x86-64")], settings(prune=0.5, importance=importance, strict=True))


def test_the_latency_of_what_is_not_here_cannot_be_measured():
    with pytest.raises(UsageError, match="android-gpu runs tflite files on gpu, which cannot be timed"):
        require_pruning([load_target("x86-64"), load_target("android-gpu")], settings(max_latency=1))
    require_pruning([load_target("android-arm64")], settings(max_latency=1))


def test_training_wants_data():
    with pytest.raises(DataError, match="--recover: training needs samples"):
        require_pruning([load_target("x86-64")], settings(prune=0.5, recover=True))


def test_rounding_in_training_wants_static_int8():
    with pytest.raises(UsageError, match="--quantization-aware: none of the targets"):
        require_pruning(
            [load_target("android-gpu")],
            settings(prune=0.5, recover=True, quantization_aware=True, calibration="x.npz"),
        )


@pytest.mark.parametrize("keywords", [{"recover": True}, {"importance": "taylor"}])
def test_training_without_tensorflow_says_what_to_install(monkeypatch, keywords):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as find_spec sees what is not there
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"needs TensorFlow: pip install 'edgekit\[tensorflow\]'"):
        require_pruning([load_target("x86-64")], settings(prune=0.5, calibration="x.npz", **keywords))
