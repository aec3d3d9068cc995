"""The file in memory: tensors and operators that know neither ONNX nor flatbuffers.

Names of builtin operators, option tables and enum members are those of the schema
(https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs); option fields in snake case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quantization:
    """Affine int8 parameters: ``real = (code - zero_point) * scale``; one pair, or one for each index of ``axis``."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def minimum(self) -> float:
        """The smallest real value that per-tensor int8 codes can hold."""
        return (-128 - self.zero_point[0]) * self.scale[0]

    @property
    def maximum(self) -> float:
        """The largest real value that per-tensor int8 codes can hold."""
        return (127 - self.zero_point[0]) * self.scale[0]

    def same(self, other: "Quantization | None") -> bool:
        """Whether the same codes mean the same numbers under ``other`` (scales equal to float32 rounding)."""
        return (
            other is not None
            and self.axis == other.axis
            and self.zero_point == other.zero_point
            and bool(np.allclose(self.scale, other.scale, rtol=1e-6, atol=0))
        )


@dataclass(eq=False, slots=True)
class Tensor:
    """One tensor of the file; ``data`` makes it a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: Quantization | None = None
    data: Array | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(eq=False, slots=True)
class Operator:
    """One operator; an absent optional input is None."""

    builtin: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: Options = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class FlatModel:
    """A file with one subgraph and one signature; the names in the signature are those of the source model."""

    operators: list[Operator]
    inputs: list[tuple[str, Tensor]]
    outputs: list[tuple[str, Tensor]]

    def tensors(self) -> list[Tensor]:
        """Every tensor in use, inputs first, then in the order in which the operators name them."""
        ordered: dict[Tensor, None] = {tensor: None for _, tensor in self.inputs}
        for operator in self.operators:
            ordered.update((t, None) for t in (*operator.inputs, *operator.outputs) if t is not None)
        ordered.update((tensor, None) for _, tensor in self.outputs)
        return list(ordered)


def constant(name: str, data: Any, dtype: npt.DTypeLike = np.int32) -> Tensor:
    """A constant parameter tensor, such as axes or paddings (int32 unless said otherwise)."""
    array = np.array(data, dtype=dtype, order="C")
    return Tensor(name, array.shape, array.dtype, data=array)


def shape_constant(shape: Sequence[int]) -> Tensor:
    """The int32 shape operand of RESHAPE, BROADCAST_TO and TRANSPOSE_CONV."""
    return constant("shape", shape)
