"""Files on the device, found by their sha256: a file of the same size and another content is sent again."""

import hashlib
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmarking.executors.adb.client import Output, last_words
from edgekit.benchmarking.executors.adb.connection import Connection, quoted
from edgekit.errors import DeviceError

_CHUNK = 1 << 20
# So many paths fit into one command line of any adb.
_PATHS_PER_COMMAND = 50

_NO_ROOM = ("No space left", "ENOSPC", "Disk quota exceeded", "not enough space")
_NOT_ALLOWED = ("Permission denied", "Operation not permitted", "Read-only file system", "Not a directory")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to send: where it is here, its path below the destination, its sha256 and its size in bytes."""

    local: Path
    name: str
    sha256: str
    size: int


def items(path: Path) -> list[Item]:
    """The file at ``path``, or all files below it. Raises DeviceError when it cannot be read."""
    try:
        if not path.is_dir():
            return [_item(path, path.name)]
        files = sorted(each for each in path.rglob("*") if each.is_file())
        if not files:
            raise DeviceError(f"{path}: is an empty folder; expected files to send")
        return [_item(each, f"{path.name}/{each.relative_to(path).as_posix()}") for each in files]
    except OSError as error:
        raise DeviceError(f"{error.filename or path}: cannot be read: {error.strerror}") from None


def _item(path: Path, name: str) -> Item:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return Item(path, name, digest.hexdigest(), path.stat().st_size)


def content_name(sent: Iterable[Item]) -> str:
    """The sha256 of one file, or of the names and contents of several."""
    all_items = list(sent)
    if len(all_items) == 1:
        return all_items[0].sha256
    listing = "".join(f"{item.sha256}  {item.name}\n" for item in all_items)
    return hashlib.sha256(listing.encode()).hexdigest()


class Store:
    """Puts files below ``folder`` on the device; what arrives is checked before it gets its final name."""

    def __init__(self, connection: Connection, incoming: str) -> None:
        self._connection = connection
        self._incoming = incoming

    def holder(self, folders: Sequence[str], wanted: list[Item]) -> str | None:
        """The first of ``folders`` in which all of ``wanted`` are, byte for byte."""
        hashes = self._hashes(posixpath.join(folder, item.name) for folder in folders for item in wanted)
        for folder in folders:
            if all(hashes.get(posixpath.join(folder, item.name)) == item.sha256 for item in wanted):
                return folder
        return None

    def send(self, folder: str, wanted: list[Item], *, executable: bool) -> None:
        """Copy ``wanted`` to ``folder``. Raises DeviceError: no room, no permission, damaged on the way."""
        arrivals = {item.name: f"{self._incoming}/{number}" for number, item in enumerate(wanted)}
        self._make_folders({self._incoming, *(posixpath.dirname(f"{folder}/{item.name}") for item in wanted)})
        for item in wanted:
            output = self._connection.push(item.local, arrivals[item.name])
            if output.exit_code != 0:
                raise self._refused(item, output)
        self._check({arrivals[item.name]: item for item in wanted})
        for item in wanted:
            self._place(arrivals[item.name], f"{folder}/{item.name}", executable=executable)

    def _make_folders(self, folders: Iterable[str]) -> None:
        self._connection.shell_command(f"mkdir -p {quoted(*sorted(folders))}")

    def _place(self, arrived: str, final: str, *, executable: bool) -> None:
        script = f"chmod {'755' if executable else '644'} {quoted(arrived)} && mv -f {quoted(arrived, final)}"
        if executable:
            script += f" && {{ [ -x {quoted(final)} ] || echo not executable; }}"
        if "not executable" in self._connection.shell_command(script):
            folder = posixpath.dirname(final)
            raise DeviceError(
                f"{self._connection.name}: {folder} is mounted without permission to run programs (noexec); "
                f'set "folder" in the device profile, to /data/local/tmp/edgekit for instance'
            )

    def _check(self, arrived: dict[str, Item]) -> None:
        hashes = self._hashes(arrived)
        if not hashes:  # no sha256sum: before Android 6
            hashes = {path: arrived[path].sha256 for path in self._complete(arrived)}
        for path, item in arrived.items():
            if hashes.get(path) != item.sha256:
                room = self._free_bytes()
                if room is not None and room < item.size:
                    raise self._no_room(item)
                raise DeviceError(
                    f"{self._connection.name}: {item.local.name} arrived damaged; check the cable and try again"
                )

    def _hashes(self, paths: Iterable[str]) -> dict[str, str]:
        """sha256 by path, of those that are there; empty when the device cannot calculate it."""
        found: dict[str, str] = {}
        for some in _batches(paths):
            script = f'for f in {quoted(*some)}; do sha256sum < "$f" 2>/dev/null || echo none; done; true'
            lines = self._connection.shell_command(script).splitlines()
            pairs = zip(some, lines, strict=False)
            found |= {path: line.split()[0] for path, line in pairs if line.strip() and not line.startswith("none")}
        return found

    def _complete(self, arrived: dict[str, Item]) -> Iterator[str]:
        for some in _batches(arrived):
            script = f'for f in {quoted(*some)}; do wc -c < "$f" 2>/dev/null || echo none; done; true'
            for path, line in zip(some, self._connection.shell_command(script).splitlines(), strict=False):
                if line.strip() == str(arrived[path].size):
                    yield path

    def _refused(self, item: Item, output: Output) -> DeviceError:
        words = f"{output.stdout}\n{output.stderr}"
        if any(word in words for word in _NO_ROOM):
            return self._no_room(item)
        denied = next((line for line in words.splitlines() if any(word in line for word in _NOT_ALLOWED)), None)
        if denied:
            return DeviceError(
                f"{self._connection.name}: may not write {item.local.name} to {self._incoming} ({last_words(denied)}); "
                'set "folder" in the device profile to one that the shell user may write to'
            )
        return DeviceError(f"{self._connection.name}: {item.local.name} could not be sent: {last_words(words)}")

    def _no_room(self, item: Item) -> DeviceError:
        room = self._free_bytes()
        free = "" if room is None else f", {room / 1e6:.1f} MB are free"
        return DeviceError(
            f"{self._connection.name} is full: {item.local.name} needs {item.size / 1e6:.1f} MB{free}; "
            f"make room in {posixpath.dirname(posixpath.dirname(self._incoming))}"
        )

    def _free_bytes(self) -> int | None:
        """The fourth column of ``df -k``: what is available."""
        answer = self._connection.shell_command(f"df -k {quoted(posixpath.dirname(self._incoming))} 2>/dev/null; true")
        columns = answer.split("\n", 1)[-1].split()
        return int(columns[3]) * 1024 if len(columns) > 3 and columns[3].isdecimal() else None


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(paths)
    while some := list(itertools.islice(iterator, _PATHS_PER_COMMAND)):
        yield some
