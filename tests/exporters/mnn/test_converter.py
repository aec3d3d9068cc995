"""MNN's converter in its subprocess: it may not hang for ever."""

from pathlib import Path

import pytest

from edgekit.exporters.mnn import converter
from edgekit.exporters.mnn.converter import ConverterFailedError, store_half


def test_a_converter_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(converter, "_TIMEOUT_S", 0.2)
    with pytest.raises(ConverterFailedError, match=r"did not end in 0\.2 s"):
        store_half(tmp_path / "a.mnn", tmp_path / "b.mnn")
