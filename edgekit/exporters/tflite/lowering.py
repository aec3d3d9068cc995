"""From the ONNX graph to operators of the file: the state that the functions in ``ops`` share.

Every value is held by one or more tensors, each with a permutation label (see layout.py). A tensor in another layout is
made only when an operator asks for it, once. A node is lowered in one of two modes: in int8 mode its inputs are the
codes behind DequantizeLinear and its outputs the codes after QuantizeLinear; in float mode inputs are dequantized on
demand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.activation import FUSING, fused_name
from edgekit.exporters.tflite.layout import Permutation, Shape
from edgekit.exporters.tflite.model import Array, Operator, Quantization, Tensor, constant, shape_constant
from edgekit.exporters.tflite.quantization import (
    Codes,
    activation_codes,
    constant_codes,
    initializer,
    parameters,
    per_tensor_range,
    quantize_user,
    quantized,
)
from edgekit.exporters.tflite.types import FLOATS, carried_array, carried_dtype
from edgekit.interface import Precision

_HALF_PRECISION_MINIMUM = 16
"""Float constants below this size stay float32 in fp16 files: the DEQUANTIZE would cost more bytes than it saves."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor that holds a value, and how."""

    tensor: Tensor
    permutation: Permutation


@dataclass(frozen=True, slots=True)
class Result:
    """What an operator makes: the ONNX value and its layout.

    ``scale`` is the quantization that the kernel gives its output; a QUANTIZE follows when the graph wants another.
    ``through`` is the shape in which the operator makes it when that differs from the value's; a RESHAPE follows.
    """

    value: ir.Value
    permutation: Permutation
    scale: Quantization | None = None
    through: Shape | None = None


class Lowering:
    """The operators emitted so far and where each value lives."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.operators: list[Operator] = []
        self.done: set[ir.Node] = set()
        self.int8 = False
        self.shuffles: dict[ir.Value, Array] = {}
        self._placed: dict[ir.Value, list[Placed]] = {}

    # --- what the graph says ---

    def shape(self, value: ir.Value | None) -> Shape:
        """The static ONNX shape of ``value``."""
        if value is None or value.shape is None or not value.shape.is_static():
            raise UnsupportedError(f"value {value.name if value else ''!r} has no static shape")
        return value.shape.numpy()

    def rank(self, value: ir.Value | None) -> int:
        """The number of dimensions of ``value``."""
        return len(self.shape(value))

    def dtype(self, value: ir.Value) -> "np.dtype[Any]":
        """The type that carries ``value`` in the file: int64 is carried as int32, every float as float32."""
        return carried_dtype(value)

    def constant(self, value: ir.Value | None) -> Array | None:
        """The array of a constant, dequantized if it is stored as codes; None for computed values."""
        codes = constant_codes(value)
        if codes is not None:
            return codes.real()
        array = initializer(value)
        return None if array is None else carried_array(array, value)

    def is_constant(self, value: ir.Value | None) -> bool:
        """Whether ``value`` is known at export time."""
        return initializer(value) is not None or constant_codes(value) is not None

    def codes(self, value: ir.Value | None) -> Codes | None:
        """The stored integers of a quantized constant; None for anything else."""
        return constant_codes(value)

    def required(self, node: ir.Node, index: int) -> Array:
        """The constant at input ``index``. Raises UnsupportedError when it is computed at run time."""
        array = self.constant(node.inputs[index])
        if array is None:
            raise UnsupportedError(f"input {index} must be a constant")
        return array

    def optional(self, node: ir.Node, index: int) -> ir.Value | None:
        """Input ``index``, or None when the node does not have it."""
        return node.inputs[index] if index < len(node.inputs) else None

    # --- quantization ---

    def input_quantization(self, value: ir.Value | None) -> Quantization | None:
        """The quantization of the codes behind a dequantized activation."""
        codes = activation_codes(value)
        node = value.producer() if value is not None else None
        return parameters(node) if codes is not None and node is not None else None

    def output_quantization(self, node: ir.Node, index: int = 0, *, fuses: bool = True) -> Quantization | None:
        """The quantization that follows output ``index`` (after a fused activation), or None when it stays float."""
        user = self._quantize_after(node.outputs[index], fuses)
        return parameters(user) if user is not None else None

    def _quantize_after(self, value: ir.Value, fuses: bool) -> ir.Node | None:
        user = quantize_user(value)
        uses = list(value.uses())
        if user is not None or not fuses or value.is_graph_output() or len(uses) != 1:
            return user
        after = quantize_user(uses[0].node.outputs[0]) if len(uses[0].node.outputs) == 1 else None
        own = parameters(after) if after is not None else None
        return after if own is not None and fused_name(uses[0].node, own) is not None else None

    def is_int8(self, node: ir.Node, *, fuses: bool) -> bool:
        """Whether all activations around ``node`` are quantized."""
        floats = [v for v in node.inputs if v is not None and v.dtype in FLOATS and not self.is_constant(v)]
        outputs = [v for v in node.outputs if v.dtype in FLOATS and (v.uses() or v.is_graph_output())]
        return (
            bool(floats)
            and all(activation_codes(value) is not None for value in floats)
            and all(self._quantize_after(value, fuses) is not None for value in outputs)
        )

    # --- values to tensors ---

    def place(self, value: ir.Value, tensor: Tensor, permutation: Permutation) -> None:
        """Record that ``tensor`` holds ``value``, labelled ``permutation``."""
        self._placed.setdefault(value, []).append(Placed(tensor, permutation))

    def is_placed(self, value: ir.Value) -> bool:
        """Whether a tensor already holds ``value``."""
        return value in self._placed

    def _versions(self, value: ir.Value) -> list[Placed]:
        codes = activation_codes(value)
        if codes is not None and self.int8:
            value = codes
        elif value not in self._placed and codes is not None:
            source = self._placed[codes][0]
            tensor = Tensor(value.name or "", source.tensor.shape, np.dtype(np.float32))
            self.operators.append(Operator("DEQUANTIZE", [source.tensor], [tensor]))
            self.place(value, tensor, source.permutation)
        if value not in self._placed:
            self._place_constant(value)
        return self._placed[value]

    def _place_constant(self, value: ir.Value) -> None:
        array = self.constant(value)
        if array is None:
            raise UnsupportedError(f"input {value.name!r} is not computed by any node before it")
        self.place(value, self.weight(value, array.shape, layout.identity(array.ndim)), layout.identity(array.ndim))

    def label(self, value: ir.Value | None) -> Permutation:
        """The layout in which ``value`` was made."""
        if value is None:
            return ()
        codes = activation_codes(value)
        holder = codes if codes is not None and codes in self._placed else value
        return self._placed[holder][0].permutation if holder in self._placed else layout.identity(self.rank(value))

    def tensor(self, value: ir.Value | None, permutation: Permutation | None = None) -> Tensor:
        """The tensor that holds ``value`` in layout ``permutation`` (by default the source's), moved if need be."""
        if value is None:
            raise UnsupportedError("a required input is missing")
        wanted = layout.identity(self.rank(value)) if permutation is None else permutation
        versions = self._versions(value)
        for version in versions:
            if version.permutation == wanted:
                return version.tensor
        costs = [not layout.moves_only_units(v.tensor.shape, layout.moves(v.permutation, wanted)) for v in versions]
        source = versions[costs.index(min(costs))]
        tensor = self.transpose(source.tensor, layout.moves(source.permutation, wanted))
        versions.append(Placed(tensor, wanted))
        return tensor

    def weight(
        self,
        value: ir.Value,
        shape: Sequence[int],
        permutation: Permutation,
        *,
        hybrid: bool = False,
        order: tuple[int, Array] | None = None,
    ) -> Tensor:
        """A constant, reshaped to ``shape``, transposed, and reordered: codes in int8 mode, else real numbers.

        ``hybrid`` allows int8 weights beside float activations when the precision is int8-dynamic. The reshape may only
        insert unit dimensions after the quantized axis. ``order`` is a physical axis and the indices to take along it.
        """
        codes, name = constant_codes(value), _constant_name(value)
        array = self.constant(value) if codes is None else codes.data
        assert array is not None
        data = array.reshape(shape).transpose(permutation)
        data = np.ascontiguousarray(data if order is None else data.take(order[1], order[0])).reshape(data.shape)
        if codes is None:
            return self.real(name, data)
        stored = Tensor(name, data.shape, data.dtype, _moved(codes.quantization, permutation, order), data)
        if self.int8 or (hybrid and self.precision == Precision.INT8_DYNAMIC):
            return stored
        return self.emit("DEQUANTIZE", [stored], data.shape, dtype=np.float32)

    def real(self, name: str, array: Array) -> Tensor:
        """A float (or integer, or bool) constant; in fp16 files stored as float16 when that loses nothing."""
        data = np.ascontiguousarray(array).reshape(array.shape)
        if self.precision == Precision.FP16 and data.dtype == np.float32 and data.size >= _HALF_PRECISION_MINIMUM:
            with np.errstate(over="ignore"):
                half = data.astype(np.float16)
            if np.array_equal(half.astype(np.float32), data, equal_nan=True):
                stored = Tensor(name, data.shape, half.dtype, data=half)
                return self.emit("DEQUANTIZE", [stored], data.shape, dtype=np.float32)
        return Tensor(name, data.shape, data.dtype, data=data)

    def activation_constant(self, value: ir.Value, array: Array, like: Quantization | None = None) -> Tensor:
        """A constant operand of an elementwise operator: per-tensor codes in int8 mode, with ``like``'s scale if given.

        ``array`` is the value's own array in another shape or order.
        """
        name = _constant_name(value)
        if not self.int8 or array.dtype != np.float32:
            return self.real(name, array)
        own = constant_codes(value)
        if like is None and own is not None and own.quantization.axis is None and own.data.dtype == np.int8:
            like = own.quantization
        codes = quantized(array, like if like is not None else per_tensor_range(array))
        return Tensor(name, array.shape, codes.data.dtype, codes.quantization, codes.data)

    # --- operators ---

    def emit(
        self,
        builtin: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        *,
        like: Tensor | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> Tensor:
        """Append an operator that makes a new tensor of ``shape``.

        Its type is ``dtype``; without one, type and scale are those of ``like``, by default the first input.
        """
        source = like if like is not None else inputs[0]
        assert source is not None
        own = None if dtype is not None else source.quantization
        name = f"{source.name}/{builtin.lower()}"
        result = Tensor(name, tuple(int(s) for s in shape), source.dtype if dtype is None else np.dtype(dtype), own)
        self.operators.append(Operator(builtin, list(inputs), [result], options))
        return result

    def transpose(self, tensor: Tensor, axes: Sequence[int]) -> Tensor:
        """``tensor`` with its axes moved: now for constants, by RESHAPE when memory stays, else by TRANSPOSE."""
        shape = layout.permuted(tensor.shape, tuple(axes))
        if tensor.data is not None and (tensor.quantization is None or tensor.quantization.axis is None):
            data = np.ascontiguousarray(tensor.data.transpose(axes))
            return Tensor(tensor.name, shape, tensor.dtype, tensor.quantization, data)
        if layout.moves_only_units(tensor.shape, tuple(axes)):
            return self.reshape(tensor, shape)
        return self.emit("TRANSPOSE", [tensor, constant("perm", axes)], shape)

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """``tensor`` with the same memory and another shape."""
        if tensor.shape == tuple(shape):
            return tensor
        if tensor.data is not None and (tensor.quantization is None or tensor.quantization.axis is None):
            return Tensor(tensor.name, tuple(shape), tensor.dtype, tensor.quantization, tensor.data.reshape(shape))
        return self.emit("RESHAPE", [tensor, shape_constant(shape)], shape)

    def requantize(self, tensor: Tensor, quantization: Quantization | None) -> Tensor:
        """``tensor`` with codes of another scale; unchanged when the scale is the same or nothing is quantized."""
        if quantization is None or tensor.quantization is None or quantization.same(tensor.quantization):
            return tensor
        result = Tensor(f"{tensor.name}/quantize", tensor.shape, tensor.dtype, quantization)
        self.operators.append(Operator("QUANTIZE", [tensor], [result]))
        return result

    def finish(self, builtin: str, inputs: Sequence[Tensor | None], result: Result, **options: Any) -> None:
        """Append the operator that makes ``result``, with a following activation fused where the operator can."""
        value = result.value
        if builtin in FUSING:
            options["fused_activation_function"], value = self.fuse(value)
            if result.value in self.shuffles:
                self.shuffles[value] = self.shuffles[result.value]
        wanted = self._new_result(value, result.permutation)
        own = wanted.quantization
        rescaled = own is not None and result.scale is not None and not own.same(result.scale)
        shape = wanted.shape if result.through is None else result.through
        if not rescaled and shape == wanted.shape:
            self.operators.append(Operator(builtin, list(inputs), [wanted], options))
            return
        made = Tensor(f"{wanted.name}/{builtin.lower()}", shape, wanted.dtype, result.scale if rescaled else own)
        self.operators.append(Operator(builtin, list(inputs), [made], options))
        self._deliver(made, wanted)

    def _deliver(self, made: Tensor, wanted: Tensor) -> None:
        if made.quantization is None or made.quantization.same(wanted.quantization):
            self.operators.append(Operator("RESHAPE", [made, shape_constant(wanted.shape)], [wanted]))
        else:
            self.operators.append(Operator("QUANTIZE", [self.reshape(made, wanted.shape)], [wanted]))

    def alias(self, node: ir.Node, tensor: Tensor, permutation: Permutation, index: int = 0) -> None:
        """Let ``tensor`` itself be output ``index`` of ``node``, requantized where the graph says so."""
        value = node.outputs[index]
        user = self._quantize_after(value, False) if self.int8 else None
        if user is None:
            self.place(value, tensor, permutation)
            return
        self.place(user.outputs[0], self.requantize(tensor, parameters(user)), permutation)

    def _new_result(self, value: ir.Value, permutation: Permutation) -> Tensor:
        shape = layout.permuted(self.shape(value), permutation)
        user = quantize_user(value) if self.int8 and value.dtype in FLOATS else None
        if user is None:
            result = Tensor(value.name or "", shape, self.dtype(value))
            self.place(value, result, permutation)
        else:
            result = Tensor(value.name or "", shape, np.dtype(np.int8), parameters(user))
            self.place(user.outputs[0], result, permutation)
        return result

    def fuse(self, value: ir.Value) -> tuple[str, ir.Value]:
        """The activation to fuse behind ``value`` and the value that then comes out; its node is marked done."""
        uses = list(value.uses())
        if value.is_graph_output() or len(uses) != 1 or (self.int8 and quantize_user(value) is not None):
            return "NONE", value
        follower = uses[0].node
        after = quantize_user(follower.outputs[0]) if self.int8 and follower.outputs else None
        name = fused_name(follower, parameters(after) if after is not None else None)
        if name is None or (self.int8 and after is None):
            return "NONE", value
        self.done.add(follower)
        return name, follower.outputs[0]


def _constant_name(value: ir.Value) -> str:
    """The name of the initializer; of a quantized one, the name it had in the float graph."""
    return (value.name or "constant").removesuffix("_dequantized")


def _moved(quantization: Quantization, permutation: Permutation, order: tuple[int, Array] | None) -> Quantization:
    """The parameters of codes that were transposed, then reordered."""
    if quantization.axis is None:
        return quantization
    axis, scale, zero_point = permutation.index(quantization.axis), quantization.scale, quantization.zero_point
    if order is not None and order[0] == axis:
        scale = tuple(scale[i] for i in order[1])
        zero_point = tuple(zero_point[i] for i in order[1])
    return Quantization(scale, zero_point, axis)
