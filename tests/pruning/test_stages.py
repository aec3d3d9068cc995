"""Why more was removed than was asked."""

import pytest

from edgekit.passes.prune import PruningReport
from edgekit.passes.prune.report import Wider
from edgekit.pruning.stages import overshot


def report(macs: int, wider: Wider | None = None) -> PruningReport:
    return PruningReport("obs", 1000, macs, 100, 70, 0.003, "divergence", "none", (), (), wider=wider)


@pytest.mark.parametrize(
    ("macs", "wider", "multiple", "told"),
    [
        (696, None, 8, []),  # so little is not worth a word
        (642, None, 8, ["asked 30 %, removed 35.8 %: channels go in multiples of 8"]),
        (642, None, 1, ["asked 30 %, removed 35.8 %"]),
        (
            642,
            Wider(699, 0.00437, 0.00347),
            8,
            ["asked 30 %, removed 35.8 %: a wider network, 30.1 % removed, lost more (0.00437 against 0.00347)"],
        ),
    ],
)
def test_the_reason_is_the_true_one(macs: int, wider: Wider | None, multiple: int, told: list[str]) -> None:
    assert list(overshot(0.3, report(macs, wider), multiple)) == told
