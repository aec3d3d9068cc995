"""A device for the real ``adb``: the transport of Android's adbd over TCP, with authorization.

The protocol is that of ``protocol.txt`` in Android's platform/packages/modules/adb. No delayed acknowledgements and no
compression: the features that are offered are the ones that are served.
"""

import contextlib
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable

COMMANDS = {name: struct.unpack("<I", name.encode())[0] for name in ("CNXN", "AUTH", "OPEN", "OKAY", "WRTE", "CLSE")}
NAMES = {number: name for name, number in COMMANDS.items()}
HEADER = struct.Struct("<6I")

# From this version on neither side calculates checksums of the payload.
VERSION = 0x01000001
MAXIMUM_PAYLOAD = 1 << 20
FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"

TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3

Service = Callable[["Stream", str], None]


class Stream:
    """One service's pipe of bytes: a packet is sent when the one before it has been acknowledged."""

    def __init__(self, transport: "Transport", local: int, remote: int) -> None:
        self.local, self.remote = local, remote
        self.closed = False
        self._transport = transport
        self._incoming: queue.Queue[bytes | None] = queue.Queue()
        self._buffer = b""
        self._acknowledged = threading.Semaphore(0)
        self._writing = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._writing:
            for start in range(0, len(data), self._transport.maximum_payload):
                if self.closed:
                    raise BrokenPipeError
                payload = data[start : start + self._transport.maximum_payload]
                self._transport.send("WRTE", self.local, self.remote, payload)
                self._acknowledged.acquire()

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            chunk = self._incoming.get()
            if chunk is None:
                self._incoming.put(None)
                raise EOFError
            self._transport.send("OKAY", self.local, self.remote)
            self._buffer += chunk
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def received(self, data: bytes) -> None:
        self._incoming.put(data)

    def acknowledged(self) -> None:
        self._acknowledged.release()

    def close(self) -> None:
        self.closed = True
        self._incoming.put(None)
        self._acknowledged.release()


class Transport(threading.Thread):
    """One connection of an adb server. ``auth`` is none, accept or reject; ``find_service`` serves streams by name."""

    def __init__(
        self, connection: socket.socket, banner: str, auth: str, find_service: Callable[[str], Service | None]
    ) -> None:
        super().__init__(daemon=True)
        self.maximum_payload = 4096
        self._socket = connection
        self._banner, self._auth, self._find_service = banner, auth, find_service
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._next = 1

    def send(self, command: str, first: int, second: int, data: bytes = b"") -> None:
        number = COMMANDS[command]
        with self._sending:
            header = HEADER.pack(number, first, second, len(data), 0, number ^ 0xFFFFFFFF)
            self._socket.sendall(header + data)

    def run(self) -> None:
        try:
            while True:
                command, first, second, size, _, magic = HEADER.unpack(self._receive(HEADER.size))
                data = self._receive(size)
                if magic != command ^ 0xFFFFFFFF:
                    break
                self._handle(NAMES.get(command, ""), first, second, data)
        except (EOFError, OSError):
            pass
        self.disconnect()

    def disconnect(self) -> None:
        for stream in list(self._streams.values()):
            stream.close()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _handle(self, command: str, first: int, second: int, data: bytes) -> None:
        stream = self._streams.get(second)
        if command == "CNXN":
            self.maximum_payload = min(second, MAXIMUM_PAYLOAD)
            if self._auth == "none":
                self._welcome()
            else:
                self.send("AUTH", TOKEN, 0, os.urandom(20))
        elif command == "AUTH" and first == SIGNATURE:  # no key is known: ask for the public one
            self.send("AUTH", TOKEN, 0, os.urandom(20))
        elif command == "AUTH" and first == PUBLIC_KEY and self._auth == "accept":
            self._welcome()
        elif command == "OPEN":
            self._open(first, data.rstrip(b"\0").decode())
        elif command == "OKAY" and stream:
            stream.acknowledged()
        elif command == "WRTE" and stream:
            stream.received(data)
        elif command == "CLSE" and stream:
            self._streams.pop(second).close()
            self.send("CLSE", second, first)

    def _welcome(self) -> None:
        self.send("CNXN", VERSION, MAXIMUM_PAYLOAD, f"device::{self._banner}features={FEATURES}".encode())

    def _open(self, remote: int, name: str) -> None:
        service = self._find_service(name)
        if service is None:
            self.send("CLSE", 0, remote)
            return
        stream = Stream(self, self._next, remote)
        self._next += 1
        self._streams[stream.local] = stream
        self.send("OKAY", stream.local, remote)
        threading.Thread(target=self._serve, args=(service, stream, name), daemon=True).start()

    def _serve(self, service: Service, stream: Stream, name: str) -> None:
        with contextlib.suppress(EOFError, OSError):
            service(stream, name)
        if self._streams.pop(stream.local, None):
            with contextlib.suppress(OSError):
                self.send("CLSE", stream.local, stream.remote)
