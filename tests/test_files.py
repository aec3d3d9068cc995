"""Digests of files, and where what can be made again is kept."""

import hashlib
from pathlib import Path

import pytest

from edgekit.files import cache_folder, file_sha256


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_the_digest_is_of_the_whole_file(size: int, tmp_path: Path) -> None:
    content = bytes(index % 251 for index in range(size))
    path = tmp_path / "file"
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("variable", "folder"), [("/cache", "/cache/edgekit/tools"), ("", "/home/me/.cache/edgekit/tools")]
)
def test_the_cache_is_where_the_user_wants_it(variable: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(cache_folder("tools")) == folder
