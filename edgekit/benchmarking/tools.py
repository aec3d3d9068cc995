"""The benchmark program that a device profile names: a local file, or one downloaded once and pinned by hash."""

import hashlib
import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from edgekit.errors import DependencyError, ProfileError
from edgekit.files import cache_folder, file_sha256
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile

MAXIMUM_BYTES = 1 << 30
"""No benchmark program is larger."""

_TIMEOUT_S = 60.0
_CHUNK = 1 << 20


def local_program(device: Device, format_name: str, profile: RunnerProfile) -> Path:
    """The file on this machine that ``path`` or ``url`` of the profile names.

    Raises ProfileError when it names none, or what it names is not there or not what its hash says, DependencyError
    when it cannot be downloaded.
    """
    where = profile.where(format_name, str(device.path or device.name))
    if profile.path is not None:
        if not profile.path.is_file():
            raise ProfileError(
                f'{where} "path" is {profile.path}, which is no file; expected the program {profile.kind}'
            )
        return profile.path
    if profile.url is not None and profile.sha256 is not None:
        return download(profile.url, profile.sha256, where)
    raise ProfileError(
        f'{where} says kind "{profile.kind}" but not where that program is; '
        'set "path", or "url" with "sha256", or "remote" when it is on the device already'
    )


def download(url: str, sha256: str, where: str) -> Path:
    """The file at ``url``, from the cache when it is there; nothing is ever used whose hash is not ``sha256``.

    ``where`` says in messages who wants it.
    """
    path = cache_folder("tools") / sha256 / _file_name(url, where)
    if not (path.is_file() and file_sha256(path) == sha256):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
                fresh = Path(folder, path.name)
                _fetch(url, sha256, fresh, where)
                fresh.chmod(0o755)
                fresh.replace(path)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DependencyError(
                f'{where} {url} cannot be downloaded ({reason}); download it by hand and set "path" to it'
            ) from None
    return path


def _file_name(url: str, where: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        name = Path(urllib.parse.unquote(parts.path)).name
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable, name = False, ""
    if not usable or not name or not url.isascii() or " " in url:
        raise ProfileError(f'{where} "url" is {url}; expected the http(s) address of a program')
    return name


def _fetch(url: str, sha256: str, path: Path, where: str) -> None:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file, urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        while chunk := answer.read(_CHUNK):
            size += len(chunk)
            if size > MAXIMUM_BYTES:
                raise ProfileError(f"{where} {url} is larger than {MAXIMUM_BYTES >> 20} MiB; expected a program")
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        raise ProfileError(
            f"{where} {url} has sha256 {digest.hexdigest()}, the profile says {sha256}; "
            "if the new file is to be trusted, put its hash into the profile"
        )
