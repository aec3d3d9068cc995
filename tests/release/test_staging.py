import os
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.release.staging import staging


def test_publish_moves_everything_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with staging(out) as staged:
        staged.path("target/model.onnx").write_bytes(b"new")
        staged.path("manifest.json").write_text("{}")
        assert not (out / "target").exists()
        staged.publish()
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == [
        "manifest.json",
        "target",
        "target/model.onnx",
    ]


def test_a_failure_keeps_what_was_there_and_removes_what_it_made(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    (out / "target").mkdir(parents=True)
    (out / "target" / "model.onnx").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), staging(out) as staged:
        staged.path("target/model.onnx").write_bytes(b"half")
        raise KeyboardInterrupt
    assert (out / "target" / "model.onnx").read_bytes() == b"old"
    assert [p.name for p in out.iterdir()] == ["target"]


def test_a_failure_removes_the_folders_it_made(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staging(tmp_path / "x" / "y") as staged:
        staged.path("target/model.onnx").write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_publish_is_all_or_nothing(tmp_path: Path) -> None:
    """A file that cannot be moved into place takes the ones before it back."""
    out = tmp_path / "dist"
    (out / "a").mkdir(parents=True)
    (out / "a" / "model.onnx").write_bytes(b"old")
    (out / "b").write_text("a file where a folder is needed")
    with pytest.raises(UsageError, match="cannot move"), staging(out) as staged:
        staged.path("a/model.onnx").write_bytes(b"new")
        staged.path("a/other.onnx").write_bytes(b"new")
        staged.path("b/model.onnx").write_bytes(b"new")
        staged.publish()
    assert (out / "a" / "model.onnx").read_bytes() == b"old"
    assert not (out / "a" / "other.onnx").exists()
    assert (out / "b").read_text() == "a file where a folder is needed"


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(UsageError, match="is a folder"), staging(tmp_path) as staged:
        staged.path("manifest.json").write_text("{}")
        staged.publish()
    assert (tmp_path / "manifest.json").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write"), staging(tmp_path / "dist"):
        pytest.fail("the block must not run")


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("a file")
    with pytest.raises(UsageError, match="dist: cannot write"), staging(tmp_path / "dist"):
        pytest.fail("the block must not run")
    with pytest.raises(UsageError, match="cannot write"), staging(tmp_path / "dist" / "below"):
        pytest.fail("the block must not run")
