"""The binary protocol between a runtime worker and its client: framed messages over pipes, no pickle.

A frame is a header length (uint32, little endian), the header (JSON, UTF-8), and the tensors' bytes one after another,
in C order. The header is ``{"kind": str, "tensors": [{"name", "dtype", "shape"}], ...}`` with any further keys of
that kind of message.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from edgekit.runtimes import Array

Message = dict[str, Any]

_LENGTH = struct.Struct("<I")
MAX_HEADER_BYTES = 1 << 24
"""A longer header is not one of ours."""


def encode(kind: str, tensors: Mapping[str, Array] | None = None, **fields: Any) -> Iterator[memoryview]:
    """The frame of one message, in pieces; the tensors' memory is not copied when they are contiguous."""
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in (tensors or {}).items()}
    described = [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in arrays.items()]
    header = json.dumps({"kind": kind, "tensors": described, **fields}).encode()
    yield memoryview(_LENGTH.pack(len(header)) + header)
    for array in arrays.values():
        if array.size:
            yield array.reshape(-1).view(np.uint8).data


def decode(read: Callable[[int], bytes]) -> tuple[Message, dict[str, Array]]:
    """Read one message. ``read(n)`` returns exactly n bytes or raises EOFError. Raises ValueError for no frame."""
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a frame header of {length} bytes; expected at most {MAX_HEADER_BYTES}")
    header: Message = json.loads(read(length))
    return header, dict(_tensors(header["tensors"], read))


def _tensors(described: Iterable[Mapping[str, Any]], read: Callable[[int], bytes]) -> Iterator[tuple[str, Array]]:
    for tensor in described:
        dtype = np.dtype(tensor["dtype"])
        content = read(math.prod(tensor["shape"]) * dtype.itemsize)
        yield tensor["name"], np.frombuffer(content, dtype).reshape(tensor["shape"])
