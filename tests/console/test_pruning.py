"""What is printed of a pruning."""

import pytest

from edgekit.console.pruning import spell_time


@pytest.mark.parametrize(
    ("ms", "spelt"),
    [
        (0.03554, "35.5 µs"),
        (0.0073, "7.30 µs"),
        (0.211283, "211 µs"),
        (0.99961, "1.00 ms"),
        (1.9345, "1.93 ms"),
        (212.0, "212 ms"),
        (12345.6, "12,346 ms"),
        (None, ""),
    ],
)
def test_times_have_three_digits_that_count(ms: float | None, spelt: str) -> None:
    assert spell_time(ms) == spelt
