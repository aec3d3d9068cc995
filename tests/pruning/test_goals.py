from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.interface import Precision
from edgekit.pruning.goals import Goal, share_goal, size_goal, spell_figure


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
    path: str


def file(folder: Path, name: str, size: int, precision: Precision = Precision.INT8) -> File:
    path = folder / name
    path.write_bytes(bytes(size))
    return File(path, precision, f"x86-64/{name}")


def test_a_share_of_the_work():
    goal = share_goal(0.3, Costs())
    assert (goal.before, goal.limit, goal.cost({"g": 7}, frozenset())) == (5000, 3500, 3500)
    assert goal.measure is None and not goal.is_met


def test_the_largest_file_counts(tmp_path):
    unpruned = [file(tmp_path, "a", 1300), file(tmp_path, "b", 4200, Precision.FP32)]
    goal = size_goal(3000, unpruned, unpruned, Costs())
    assert goal.before == 4200
    assert goal.cost({"g": 5}, frozenset()) == 2200
    assert goal.spell_reading(goal.foretell({"g": 5}, frozenset())) == "2,200 bytes (x86-64/b)"
    assert goal.binding({"g": 0}, frozenset()) == "x86-64/a"
    assert list(goal.notes) == [
        "--max-bytes 3000: every artifact has to meet it: 0.71x of the 4,200 bytes of x86-64/b, the largest unpruned"
    ]
    assert goal.cost({"g": 1}, frozenset()) == 600, "of 4 bytes a parameter less is left than of 1 byte"


def test_what_the_real_file_has_more_than_the_draft_is_added(tmp_path):
    unpruned = [file(tmp_path, "real", 1340), file(tmp_path, "smaller", 1000)]
    drafts = [file(tmp_path, "draft", 1300), file(tmp_path, "larger", 1010)]
    goal = size_goal(900, unpruned, drafts, Costs())
    assert goal.measure is not None
    assert goal.measure([file(tmp_path, "p", 700), file(tmp_path, "q", 730)]) == (740, "x86-64/real")


@pytest.mark.parametrize(
    ("value", "unit", "spelt"),
    [
        (812345.2, "bytes", "812,345 bytes"),
        (31720, "bytes", "31,720 bytes"),
        (1.9345, "ms", "1.93 ms"),
        (0.0412, "ms", "0.0412 ms"),
        (0.0000123, "ms", "0.0000123 ms"),
        (999.7, "ms", "1,000 ms"),
        (12.0, "ms", "12 ms"),
    ],
)
def test_figures_are_spelt_without_an_exponent(value, unit, spelt):
    assert Goal("--max-bytes 1", unit, 1, 2, lambda kept, dropped: 1).spell(value) == spelt


@given(st.floats(1e-6, 1e7))
def test_three_digits_tell_the_figure(value):
    spelt = spell_figure(value)
    assert "e" not in spelt
    assert float(spelt.replace(",", "")) == pytest.approx(value, rel=6e-3)
