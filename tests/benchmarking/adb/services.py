"""What a device serves: ``shell:`` (with the exit codes of shell_v2) and ``sync:`` (files)."""

import os
import struct
import subprocess
import threading
from pathlib import Path
from typing import Protocol

from tests.benchmarking.adb.adbd import Stream

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
_SYNC_CHUNK = 1 << 16


class FileSystem(Protocol):
    """What the services need of the device."""

    def real(self, path: str) -> Path: ...

    def start(self, command: str) -> "subprocess.Popen[bytes]": ...

    def room_for(self, path: Path, size: int) -> int: ...

    refuses_writes: bool


class Shell:
    """Runs commands. A program outlives the connection that started it, as it does on many devices."""

    def __init__(self, device: FileSystem) -> None:
        self._device = device

    def __call__(self, stream: Stream, name: str) -> None:
        head, _, command = name.partition(":")
        assert "v2" in head.split(","), "this device serves shell_v2 only"
        process = self._device.start(command)
        pumps = [
            threading.Thread(target=self._pump, args=(stream, pipe, number), daemon=True)
            for pipe, number in ((process.stdout, STDOUT), (process.stderr, STDERR))
        ]
        for thread in (*pumps, threading.Thread(target=self._feed, args=(stream, process), daemon=True)):
            thread.start()
        for pump in pumps:
            pump.join()
        code = process.wait()
        self._packet(stream, EXIT, bytes([code if code >= 0 else 128 - code]))

    @staticmethod
    def _packet(stream: Stream, number: int, data: bytes) -> None:
        stream.write(struct.pack("<BI", number, len(data)) + data)

    def _pump(self, stream: Stream, pipe, number: int) -> None:
        try:
            while data := os.read(pipe.fileno(), 1 << 16):
                self._packet(stream, number, data)
        except OSError:
            pass

    @staticmethod
    def _feed(stream: Stream, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        try:
            while True:
                number, size = struct.unpack("<BI", stream.read(5))
                data = stream.read(size)
                if number == STDIN:
                    process.stdin.write(data)
                    process.stdin.flush()
                elif number == CLOSE_STDIN:
                    process.stdin.close()
        except (EOFError, OSError, ValueError):
            pass


class Sync:
    """Sends and receives files."""

    def __init__(self, device: FileSystem) -> None:
        self._device = device

    def __call__(self, stream: Stream, _: str) -> None:
        while True:
            command, size = struct.unpack("<4sI", stream.read(8))
            if command == b"QUIT":
                return
            path = stream.read(size).decode()
            {
                b"STAT": self._stat,
                b"STA2": self._stat_2,
                b"LST2": self._stat_2,
                b"SEND": self._send,
                b"RECV": self._receive,
            }[command](stream, path, command)

    @staticmethod
    def _fail(stream: Stream, reason: str) -> None:
        stream.write(b"FAIL" + struct.pack("<I", len(reason)) + reason.encode())

    def _stat(self, stream: Stream, path: str, _: bytes) -> None:
        try:
            found = self._device.real(path).stat()
            answer = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        except OSError:
            answer = (0, 0, 0)
        stream.write(b"STAT" + struct.pack("<3I", *answer))

    def _stat_2(self, stream: Stream, path: str, command: bytes) -> None:
        error, found = 0, os.stat_result((0,) * 10)
        try:
            found = self._device.real(path).stat()
        except OSError as failure:
            error = failure.errno or 1
        numbers = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size)
        times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        stream.write(command + struct.pack("<I2Q4IQ3q", error, *numbers, *times))

    def _send(self, stream: Stream, path_and_mode: str, _: bytes) -> None:
        path, _, mode = path_and_mode.rpartition(",")
        real = self._device.real(path)
        content = bytearray()
        while True:  # to the end even when nothing can be written, or adb hangs
            command, size = struct.unpack("<4sI", stream.read(8))
            if command == b"DONE":
                break
            content += stream.read(size)
        if self._device.refuses_writes:
            self._fail(stream, "couldn't create file: Permission denied")
            return
        room = self._device.room_for(real, len(content))
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_bytes(content[: abs(room)])
        real.chmod(int(mode) & 0o777)
        if len(content) > room >= 0:
            self._fail(stream, "write failed: No space left on device")
            return
        os.utime(real, (size, size))
        stream.write(b"OKAY" + bytes(4))

    def _receive(self, stream: Stream, path: str, _: bytes) -> None:
        try:
            content = self._device.real(path).read_bytes()
        except OSError as error:
            self._fail(stream, f"open failed: {error.strerror}")
            return
        for start in range(0, len(content), _SYNC_CHUNK):
            chunk = content[start : start + _SYNC_CHUNK]
            stream.write(b"DATA" + struct.pack("<I", len(chunk)) + chunk)
        stream.write(b"DONE" + bytes(4))
