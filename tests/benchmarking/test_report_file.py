import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def room(size: int) -> Iterator[None]:
    """So many bytes a file may have, as a quota would say; pytest's own log among them, which is written elsewhen."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["missing/out.json", "file/out.json", "folder"])
def test_a_place_where_nothing_can_be_written_is_told_first(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*expected a file"):
        ReportFile(tmp_path / name).require_writable()


def test_a_disk_that_fills_up_leaves_the_document_before(tmp_path: Path) -> None:
    file = ReportFile(tmp_path / "out.json")
    file.write(draft(FakeExecutor()))
    with room(10), pytest.raises(UsageError, match=r"cannot be written \(File too large\)"):
        file.write(draft(FakeExecutor()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
    assert json.loads((tmp_path / "out.json").read_text())["schema"] == 1


def test_the_file_may_be_read_by_whom_any_new_file_may(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    ReportFile(tmp_path / "out.json").write(draft(FakeExecutor()))
    assert (tmp_path / "out.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_that_waits_in_the_folder_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    for name in (f".out.json.{os.getpid()}", f".edgekit-{'0' * 16}"):
        (folder / name).symlink_to(victim)
    with pytest.raises(UsageError, match="File exists"):
        ReportFile(folder / "out.json").write(draft(FakeExecutor()))
    monkeypatch.undo()
    ReportFile(folder / "out.json").write(draft(FakeExecutor()))
    assert victim.read_text() == "precious" and not (folder / "out.json").is_symlink()


def test_a_place_that_becomes_a_folder_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    with pytest.raises(UsageError, match="Is a directory"):
        ReportFile(tmp_path / "out.json").write(draft(FakeExecutor()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
