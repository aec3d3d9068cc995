"""What a log gets to read while long work is done."""

import pytest

from edgekit.console.terminal import Lines


def test_a_log_gets_one_line_for_each_long_stage(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for description in ("importing a.onnx", "compensating", "compensating", "measuring channel groups", "compensating"):
        with lines.stage(description, 3) as advance:
            advance(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["compensating ...", "measuring channel groups ...", "compensating ..."]
