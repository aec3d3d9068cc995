"""Reads the parts of an ``.mnn`` flatbuffer that edgekit needs, without a schema compiler.

Tables and field numbers: MNN 3.6, ``schema/default/MNN.fbs`` (https://github.com/alibaba/MNN). The field numbers of a
flatbuffer schema only grow; files of other MNN versions read the same.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import ModelError

# Net: bizCode 0, extraTensorDescribe 1, extraInfo 2, oplists 3, outputName 4, ..., tensorName 7, ..., mnn_uuid 11.
NET_TENSOR_DESCRIBE = 1
_NET_OPS = 3
_NET_OUTPUTS = 4
_NET_TENSORS = 7
NET_UUID = 11
# Op: inputIndexes 0, main_type 1, main 2, name 3, outputIndexes 4, type 5.
_OP_INPUTS = 0
_OP_MAIN = 2
_OP_NAME = 3
_OP_OUTPUTS = 4
_OP_TYPE = 5

# The numbers of enum OpType that edgekit looks at.
OP_TYPES = {
    7: "BinaryOp",
    10: "Concat",
    11: "Const",
    12: "Convolution",
    13: "ConvolutionDepthwise",
    17: "Deconvolution",
    18: "DeconvolutionDepthwise",
    34: "Input",
    129: "ConvertTensor",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: ``type`` is the number of MNN's OpType; ``inputs`` and ``outputs`` index the file's tensors."""

    type: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: int
    """Position of its parameter table in the file, 0 when it has none."""

    @property
    def type_name(self) -> str:
        """MNN's name of the type, or its number for one that edgekit does not know."""
        return OP_TYPES.get(self.type, str(self.type))


class MnnFile:
    """The tensors and operations of one ``.mnn`` file, read from ``content``. Raises ModelError for what is not one."""

    def __init__(self, content: bytes | bytearray, path: Path) -> None:
        self.content = content
        try:
            self.root = self._unsigned(0)
            self.tensor_names = [self.string(at) for at in self.elements(self.field(self.root, _NET_TENSORS))]
            self.outputs = [self.string(at) for at in self.elements(self.field(self.root, _NET_OUTPUTS))]
            self.operations = [self._operation(at) for at in self.elements(self.field(self.root, _NET_OPS))]
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise _not_a_model(path) from error
        if not self.operations or not self.tensor_names:
            raise _not_a_model(path)

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in the file's order."""
        return [self.tensor_names[op.outputs[0]] for op in self.operations if op.type_name == "Input"]

    def field(self, table: int, number: int) -> int:
        """Where field ``number`` of the table at ``table`` lies, or 0 when the table leaves it out."""
        vtable = table - struct.unpack_from("<i", self.content, table)[0]
        size = struct.unpack_from("<H", self.content, vtable)[0]
        slot = 4 + 2 * number
        if slot >= size:
            return 0
        offset = struct.unpack_from("<H", self.content, vtable + slot)[0]
        return table + offset if offset else 0

    def follow(self, at: int) -> int:
        """Where the offset stored at ``at`` points to."""
        return at + self._unsigned(at)

    def vector(self, at: int) -> tuple[int, int]:
        """The first element's position and the length of the vector that ``at`` points to; (0, 0) for none."""
        if not at:
            return 0, 0
        start = self.follow(at)
        return start + 4, self._unsigned(start)

    def elements(self, at: int) -> Iterator[int]:
        """The positions of what a vector of offsets points to."""
        first, count = self.vector(at)
        for position in range(first, first + 4 * count, 4):
            yield self.follow(position)

    def string(self, start: int) -> str:
        """The string at ``start``."""
        length = self._unsigned(start)
        return bytes(self.content[start + 4 : start + 4 + length]).decode()

    def _unsigned(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.content, at)[0])

    def _integers(self, at: int) -> tuple[int, ...]:
        first, count = self.vector(at)
        return struct.unpack_from(f"<{count}i", self.content, first) if count else ()

    def _operation(self, table: int) -> Operation:
        name = self.field(table, _OP_NAME)
        type_ = self.field(table, _OP_TYPE)
        main = self.field(table, _OP_MAIN)
        return Operation(
            type=struct.unpack_from("<i", self.content, type_)[0] if type_ else 0,
            name=self.string(self.follow(name)) if name else "",
            inputs=self._integers(self.field(table, _OP_INPUTS)),
            outputs=self._integers(self.field(table, _OP_OUTPUTS)),
            parameters=self.follow(main) if main else 0,
        )


def _not_a_model(path: Path) -> ModelError:
    return ModelError(f"{path}: not an MNN model; expected a file written by MNN's converter")
