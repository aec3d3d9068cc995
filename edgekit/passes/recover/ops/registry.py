"""The table from ONNX operators to the functions that compute them in TensorFlow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import UnsupportedError
from edgekit.graph.queries import attribute, constant_value, input_of, shape_of
from edgekit.passes.recover.activation import Activation, Shape, Tensor


@dataclass(frozen=True, slots=True)
class Operation:
    """One node with what it reads: the operands of its function. Axes that functions see are those of one sample."""

    tf: Any
    node: ir.Node
    inputs: Sequence[Activation | None]

    def given(self, index: int) -> bool:
        """Whether the optional input is there."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def operand(self, index: int = 0) -> Activation:
        """The input, which must be there."""
        value = self.inputs[index]
        assert value is not None
        return value

    def weight(self, index: int) -> Tensor:
        """The input as it is in the graph, without samples. Raises UnsupportedError when it depends on them."""
        value = self.operand(index)
        if value.batched:
            raise self.unsupported(f"input {index} is computed from the samples; expected a constant")
        return value.plain[0]

    def constant(self, index: int) -> NDArray[Any] | None:
        """The array of a constant input (axes, sizes), None when it is omitted. Raises UnsupportedError else."""
        value = input_of(self.node, index)
        if value is None:
            return None
        array = constant_value(value)
        if array is None:
            raise self.unsupported(f"input {index} is computed; expected a constant")
        return array

    def attribute(self, name: str) -> Any:
        """The attribute, or its ONNX default."""
        return attribute(self.node, name)

    def shape(self, index: int = 0) -> Shape:
        """Of an output, of one sample."""
        return shape_of(self.node.outputs[index])

    def axis(self, axis: int) -> int:
        """``axis`` of the first input, not negative."""
        return axis % max(len(self.operand().shape), 1)

    def axes(self, index: int) -> tuple[int, ...]:
        """The axes in the input ``index`` or the attribute; all when there are none."""
        rank = len(self.operand().shape)
        given = self.constant(index) if index < len(self.node.inputs) else self.attribute("axes")
        if given is None or not np.size(given):
            return () if self.attribute("noop_with_empty_axes") else tuple(range(rank))
        return tuple(sorted(int(axis) % rank for axis in np.ravel(given)))

    def plain(self, tensor: Tensor, index: int = 0) -> Activation:
        """An output made in ONNX's layout."""
        return Activation(self.tf, self.shape(index), plain=tensor, batched=self._batched)

    def channels_last(self, tensor: Tensor, index: int = 0) -> Activation:
        """An output made with the channels last."""
        return Activation(self.tf, self.shape(index), channels_last=tensor, batched=self._batched)

    def reshaped(self, tensor: Tensor, index: int = 0) -> Activation:
        """An output of which ``tensor`` has the numbers in order."""
        return self.plain(self.tf.reshape(tensor, [-1, *self.shape(index)]), index)

    def unsupported(self, reason: str) -> UnsupportedError:
        """The error for a form of the operator that cannot be trained."""
        return UnsupportedError(
            f"{self.node.op_type} node '{self.node.name}': {reason}; recovery cannot train this network: leave it out"
        )

    @property
    def _batched(self) -> bool:
        return any(value is not None and value.batched for value in self.inputs)


Function = Callable[[Operation], Activation | Sequence[Activation]]

OPS: dict[str, Function] = {}


def computes(*op_types: str) -> Callable[[Function], Function]:
    """Register the decorated function for ``op_types``."""

    def register(function: Function) -> Function:
        for op_type in op_types:
            OPS[op_type] = function
        return function

    return register
