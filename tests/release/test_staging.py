import errno
import os
import signal
import subprocess
import sys
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_publish_waits_until_every_file_is_in_place(tmp_path: Path, number: signal.Signals) -> None:
    """In a process with numpy's threads, which take a signal that the main thread has blocked."""
    script = f"""
import os, signal, sys
from pathlib import Path
import numpy as np
np.ones((500, 500)) @ np.ones((500, 500))
from edgekit.release import staging as module
def stop(number, frame):
    raise KeyboardInterrupt
signal.signal({int(number)}, stop)
out = Path(sys.argv[1])
keep = module.Staging._keep
def interrupted(self, file):
    os.kill(os.getpid(), {int(number)})
    keep(self, file)
module.Staging._keep = interrupted
try:
    with module.staging(out) as staged:
        for name in "abcd":
            staged.path(name).write_text("new")
        staged.publish()
except KeyboardInterrupt:
    sys.exit(7)
"""
    out = tmp_path / "dist"
    out.mkdir()
    for name in "abc":
        (out / name).write_text("old")
    assert subprocess.run([sys.executable, "-c", script, str(out)], check=False).returncode == 7
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys("abcd", "new")


def test_the_manifest_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: moved.append(Path(target).name) or replace(self, target))
    with staging(tmp_path) as staged:
        for name in ("manifest.json", "x/model.onnx", "a/model.onnx"):
            staged.path(name).write_text("{}")
        staged.publish()
    assert moved == ["model.onnx", "model.onnx", "manifest.json"]


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    (tmp_path / ".edgekit-orphan" / "new").mkdir(parents=True)
    with staging(tmp_path) as first:
        first.path("a").write_text("first")
        with staging(tmp_path) as second:
            second.path("b").write_text("second")
            second.publish()
        first.publish()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dist: No space left on device; make room"), staging(tmp_path / "dist"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"), staging(tmp_path / ("x" * 300)):
        pytest.fail("the block must not run")
