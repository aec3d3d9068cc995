from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.interface import Precision
from edgekit.pruning.goals import share_goal, size_goal


class Costs:
    """1000 parameters and 5000 multiply-accumulates, which the one group shares evenly among its 10 units."""

    def macs(self, kept, dropped=()):
        return 500 * kept.get("g", 10)

    def parameters(self, kept, dropped=()):
        return 100 * kept.get("g", 10)


@dataclass
class File:
    staged_path: Path
    precision: Precision


def file(folder: Path, name: str, size: int, precision: Precision = Precision.INT8) -> File:
    path = folder / name
    path.write_bytes(bytes(size))
    return File(path, precision)


def test_a_share_of_the_work():
    goal = share_goal(0.3, Costs())
    assert (goal.before, goal.limit, goal.cost({"g": 7}, frozenset())) == (5000, 3500, 3500)
    assert goal.measure is None and not goal.is_met


def test_the_largest_file_counts(tmp_path):
    unpruned = [file(tmp_path, "a", 1300), file(tmp_path, "b", 4200, Precision.FP32)]
    goal = size_goal(3000, unpruned, unpruned, Costs())
    assert goal.before == 4200
    assert goal.cost({"g": 5}, frozenset()) == 2200
    assert goal.cost({"g": 1}, frozenset()) == 600, "of 4 bytes a parameter less is left than of 1 byte"


def test_what_the_real_file_has_more_than_the_draft_is_added(tmp_path):
    unpruned = [file(tmp_path, "real", 1340), file(tmp_path, "smaller", 1000)]
    drafts = [file(tmp_path, "draft", 1300), file(tmp_path, "larger", 1010)]
    goal = size_goal(900, unpruned, drafts, Costs())
    assert goal.measure is not None
    assert goal.measure([file(tmp_path, "p", 700), file(tmp_path, "q", 730)]) == 740


@pytest.mark.parametrize(
    ("value", "spelt"), [(812345.2, "812,345 bytes"), (1.9345, "1.93 bytes"), (0.0412, "0.0412 bytes")]
)
def test_figures_are_spelt(tmp_path, value, spelt):
    files = [file(tmp_path, "a", 10)]
    assert size_goal(1, files, files, Costs()).spell(value) == spelt
