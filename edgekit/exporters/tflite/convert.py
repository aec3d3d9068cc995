"""The whole graph: inputs, every node through the table, outputs."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters import ExportedInterface, ExportOptions, UnsupportedNode
from edgekit.exporters.tflite import cleanup, layout
from edgekit.exporters.tflite.input_layout import wants_channels_last
from edgekit.exporters.tflite.lowering import Lowering
from edgekit.exporters.tflite.model import FlatModel, Operator, Options, Quantization, Tensor, shape_constant
from edgekit.exporters.tflite.ops import RULES
from edgekit.exporters.tflite.quantization import (
    activation_codes,
    constant_codes,
    is_dequantize,
    is_quantize,
    parameters,
    quantized,
)
from edgekit.exporters.tflite.types import interface_dtype
from edgekit.interface import IoType, Layout, TensorSpec


@dataclass(frozen=True, slots=True)
class Conversion:
    """The file in memory, what an application sees of it, and every node that could not be expressed."""

    model: FlatModel
    interface: ExportedInterface
    unsupported: list[UnsupportedNode]


def convert(model: ir.Model, options: ExportOptions) -> Conversion:
    """Lower the whole graph of ``model``. Nodes that cannot be expressed are listed, not raised."""
    return _Converter(model.graph, options).run()


@dataclass
class _Converter:
    graph: ir.Graph
    options: ExportOptions
    unsupported: list[UnsupportedNode] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lowering = Lowering(self.options.precision)
        self.inputs: list[tuple[TensorSpec, Tensor]] = []
        self.outputs: list[tuple[TensorSpec, Tensor]] = []

    def run(self) -> Conversion:
        for value in self.graph.inputs:
            self._input(value)
        for node in self.graph:
            if node not in self.lowering.done:
                self._node(node)
        for value in self.graph.outputs:
            self._output(value)
        flat = FlatModel(
            self.lowering.operators,
            [(spec.name, tensor) for spec, tensor in self.inputs],
            [(spec.name, tensor) for spec, tensor in self.outputs],
        )
        cleanup.simplify(flat)
        interface = ExportedInterface(tuple(spec for spec, _ in self.inputs), tuple(spec for spec, _ in self.outputs))
        return Conversion(flat, interface, self.unsupported)

    # --- inputs ---

    def _input(self, value: ir.Value) -> None:
        rank = self.lowering.rank(value)
        label = layout.identity(rank)
        if self.options.layout == Layout.NHWC and rank == 4 and wants_channels_last(value):
            label = layout.channels_last(rank)
        shape = layout.permuted(self.lowering.shape(value), label)
        quantization = self._int8_input(value)
        dtype = interface_dtype(value) if quantization is None else np.dtype(np.int8)
        tensor = Tensor(value.name or "", shape, dtype, quantization)
        self.inputs.append((_spec(tensor, label), tensor))
        if quantization is not None:
            self._place_int8_input(value, tensor, label)
        else:
            self.lowering.place(value, self._cast(tensor, self.lowering.dtype(value)), label)

    def _int8_input(self, value: ir.Value) -> Quantization | None:
        if self.options.io != IoType.INT8:
            return None
        users = [use.node for use in value.uses() if is_quantize(use.node)]
        found = [own for own in map(parameters, users) if own is not None and own.axis is None]
        return found[0] if found else None

    def _place_int8_input(self, value: ir.Value, tensor: Tensor, label: layout.Permutation) -> None:
        for use in value.uses():
            own = parameters(use.node) if is_quantize(use.node) else None
            if own is not None and own.same(tensor.quantization):
                self.lowering.place(use.node.outputs[0], tensor, label)
            elif not self.lowering.is_placed(value):
                real = self.lowering.emit("DEQUANTIZE", [tensor], tensor.shape, dtype=np.float32)
                self.lowering.place(value, real, label)

    def _cast(self, tensor: Tensor, dtype: "np.dtype[np.generic]") -> Tensor:
        if tensor.dtype == dtype:
            return tensor
        return self.lowering.emit("CAST", [tensor], tensor.shape, dtype=dtype, **cast_options(tensor.dtype, dtype))

    # --- nodes ---

    def _node(self, node: ir.Node) -> None:
        try:
            self._lower(node)
        except UnsupportedError as error:
            self.unsupported.append(UnsupportedNode(node.op_type, node.name or "", str(error)))
            for value in node.outputs:
                if not self.lowering.is_placed(value) and value.shape is not None and value.shape.is_static():
                    self._place_unknown(value)

    def _place_unknown(self, value: ir.Value) -> None:
        """Stand in for an output that could not be lowered, so that the rest of the graph can be checked too."""
        shape = self.lowering.shape(value)
        tensor = Tensor(value.name or "", shape, np.dtype(np.float32))
        self.lowering.place(value, tensor, layout.identity(len(shape)))

    def _lower(self, node: ir.Node) -> None:
        lowering = self.lowering
        if is_quantize(node) or is_dequantize(node):
            self._boundary(node)
            return
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            raise UnsupportedError("no lowering for this operator")
        lowering.int8 = lowering.is_int8(node, fuses=rule.fuses) and rule.int8(lowering, node)
        try:
            rule.handler(lowering, node)
        finally:
            lowering.int8 = False

    def _boundary(self, node: ir.Node) -> None:
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        own = parameters(node)
        if own is None:
            raise UnsupportedError("scale and zero point must be constants of 8-bit quantization")
        if source in self.lowering.shuffles:
            self.lowering.shuffles[result] = self.lowering.shuffles[source]
        if is_dequantize(node):
            if own.axis is not None and constant_codes(result) is None:
                raise UnsupportedError("per-axis scales are for constants only")
            return
        if not self.lowering.is_placed(result):
            self._quantize(source, result, own)

    def _quantize(self, source: ir.Value, result: ir.Value, own: Quantization) -> None:
        array = self.lowering.constant(source)
        if array is not None:
            codes = quantized(array, own)
            tensor = Tensor(source.name or "", array.shape, codes.data.dtype, own, codes.data)
            self.lowering.place(result, tensor, layout.identity(array.ndim))
            return
        label = self.lowering.label(source)
        self.lowering.int8 = activation_codes(source) is not None
        tensor = self.lowering.tensor(source, label)
        self.lowering.int8 = False
        if tensor.quantization is not None and own.same(tensor.quantization):
            self.lowering.place(result, tensor, label)
            return
        codes_tensor = Tensor(result.name or "", tensor.shape, np.dtype(np.int8), own)
        self.lowering.operators.append(Operator("QUANTIZE", [tensor], [codes_tensor]))
        self.lowering.place(result, codes_tensor, label)

    # --- outputs ---

    def _output(self, value: ir.Value) -> None:
        label = layout.identity(self.lowering.rank(value))
        own = self.lowering.label(value)
        if self.options.layout == Layout.NHWC and len(own) == 4 and own == layout.channels_last(4):
            label = own
        codes = activation_codes(value)
        self.lowering.int8 = codes is not None
        tensor = self.lowering.tensor(value, label)
        self.lowering.int8 = False
        if codes is not None and self.options.io != IoType.INT8:
            tensor = self.lowering.emit("DEQUANTIZE", [tensor], tensor.shape, dtype=np.float32)
        elif codes is None:
            tensor = self._cast(tensor, interface_dtype(value))
        tensor = self._own_tensor(tensor)
        tensor.name = value.name or ""
        self.outputs.append((_spec(tensor, label), tensor))

    def _own_tensor(self, tensor: Tensor) -> Tensor:
        """A tensor that is nothing but this output: inputs, constants and other outputs are copied."""
        taken = {t for _, t in (*self.inputs, *self.outputs)}
        if tensor not in taken and tensor.data is None:
            return tensor
        return self.lowering.emit("RESHAPE", [tensor, shape_constant(tensor.shape)], tensor.shape)


def cast_options(source: "np.dtype[np.generic]", target: "np.dtype[np.generic]") -> Options:
    """The option fields of a CAST."""
    return {"in_data_type": source.name.upper(), "out_data_type": target.name.upper()}


def _spec(tensor: Tensor, label: layout.Permutation) -> TensorSpec:
    own = tensor.quantization
    return TensorSpec(
        name=tensor.name,
        dtype=tensor.dtype.name,
        shape=tensor.shape,
        scale=None if own is None else own.scale[0],
        zero_point=None if own is None else own.zero_point[0],
        permutation=None if label == layout.identity(len(label)) else label,
    )
