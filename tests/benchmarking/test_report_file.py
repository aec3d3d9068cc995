import errno
import json
import os
from pathlib import Path

import pytest

from edgekit.benchmarking.report_file import ReportFile
from edgekit.errors import UsageError
from tests.benchmarking.fakes import FakeExecutor, draft


def test_the_file_is_replaced_by_a_whole_document(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("what was there before")
    file = ReportFile(path)
    file.require_writable()
    assert path.read_text() == "what was there before"
    file.write(draft(FakeExecutor()))
    document = json.loads(path.read_text())
    assert (document["schema"], document["complete"], document["device"]["name"]) == (1, False, "fake")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("name", ["missing/out.json", "file/out.json", "folder"])
def test_a_place_where_nothing_can_be_written_is_told_first(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*expected a file"):
        ReportFile(tmp_path / name).require_writable()


def test_a_disk_that_fills_up_leaves_the_document_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ReportFile(tmp_path / "out.json")
    file.write(draft(FakeExecutor()))

    def full(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text.encode()[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\)"):
        file.write(draft(FakeExecutor()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
    assert json.loads((tmp_path / "out.json").read_text())["schema"] == 1
