"""What a log gets to read while long work is done, and what tables are made of."""

import pytest
from rich.console import Console

from edgekit.console.terminal import Lines, new_table


@pytest.mark.parametrize("name", ["a[/b]/c", "[red]conv", "x[1,3]", "[bold"])
def test_brackets_in_names_are_no_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = new_table("node", "#channels")
    table.add_row(name, "8")
    Console(width=80).print(table)
    assert capsys.readouterr().out.splitlines()[-2].split() == [name, "8"]


def test_a_log_gets_one_line_for_each_long_stage(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for description in ("importing a.onnx", "compensating", "compensating", "measuring channel groups", "compensating"):
        with lines.stage(description, 3) as advance:
            advance(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["compensating ...", "measuring channel groups ...", "compensating ..."]
