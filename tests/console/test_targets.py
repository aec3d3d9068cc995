"""The tables of ``edgekit targets`` on narrow terminals."""

import pytest
from rich.console import Console

from edgekit.console import targets as console_targets
from edgekit.console.targets import show_target, show_targets
from edgekit.profiles.target import load_target


@pytest.mark.parametrize("width", [60, 80])
def test_no_word_of_a_profile_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setattr(console_targets, "output_console", lambda: Console(width=width, highlight=False))
    profile = load_target("linux-arm64")
    show_target(profile)
    show_targets([profile, load_target("x86-64-avx2")])
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= width
    words = told.split()
    for word in (*profile.description.split(), "quantization.weight_granularity", "runtimes.tflite.activation_dtype"):
        assert words.count(word) >= 1, word
    assert words.count("(Raspberry") == 2
