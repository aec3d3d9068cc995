import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from edgekit.benchmarking import tools
from edgekit.benchmarking.tools import local_program
from edgekit.errors import DependencyError, ProfileError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile

CONTENT = b"#!/bin/sh\necho hello\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEVICE = Device("pixel", None, "a phone", "adb")


class Quiet(SimpleHTTPRequestHandler):
    requests = 0

    def log_message(self, format: str, *args: object) -> None:
        Quiet.requests += 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "benchmark_model").write_bytes(CONTENT)
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        Quiet.requests = 0
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def find(**where: object) -> Path:
    return local_program(DEVICE, "tflite", RunnerProfile("benchmark_model", **where))  # type: ignore[arg-type]


def test_a_path_is_used_as_it_is(tmp_path: Path):
    program = tmp_path / "program"
    program.write_bytes(CONTENT)
    assert find(path=program) == program
    with pytest.raises(ProfileError, match="which is no file; expected the program benchmark_model"):
        find(path=tmp_path / "missing")


def test_a_url_is_downloaded_once(server: str, cache: Path):
    path = find(url=f"{server}/benchmark_model", sha256=SHA256)
    assert path == cache / "edgekit" / "tools" / SHA256 / "benchmark_model"
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o111
    find(url=f"{server}/benchmark_model", sha256=SHA256)
    assert Quiet.requests == 1


def test_a_damaged_cache_is_not_used(server: str):
    path = find(url=f"{server}/benchmark_model", sha256=SHA256)
    path.write_bytes(b"x" * len(CONTENT))
    assert find(url=f"{server}/benchmark_model", sha256=SHA256).read_bytes() == CONTENT


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(server: str, cache: Path):
    with pytest.raises(ProfileError, match=f"has sha256 {SHA256}, the profile says 0000"):
        find(url=f"{server}/benchmark_model", sha256="0" * 64)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_file_that_is_too_large_is_refused(server: str, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tools, "MAXIMUM_BYTES", 4)
    with pytest.raises(ProfileError, match="is larger than"):
        find(url=f"{server}/benchmark_model", sha256=SHA256)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["missing", "benchmark_model/x"])
def test_what_cannot_be_downloaded_says_what_to_do(server: str, name: str):
    with pytest.raises(DependencyError, match='download it by hand and set "path"'):
        find(url=f"{server}/{name}", sha256=SHA256)


def test_a_server_that_is_not_there():
    with pytest.raises(DependencyError, match="cannot be downloaded"):
        find(url="http://127.0.0.1:9/benchmark_model", sha256=SHA256)


@pytest.mark.parametrize(
    "url",
    ["file:///bin/sh", "ftp://127.0.0.1/x", "http://127.0.0.1/", "http://[::1/x", "http://h:99999/x", "http:///x"],
)
def test_only_files_over_http(url: str):
    with pytest.raises(ProfileError, match="expected the http"):
        find(url=url, sha256=SHA256)


def test_nothing_is_ever_downloaded_unpinned(server: str):
    with pytest.raises(ProfileError, match='"sha256"'):
        find(url=f"{server}/benchmark_model")
    assert Quiet.requests == 0
