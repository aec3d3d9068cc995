"""Put QuantizeLinear/DequantizeLinear pairs into a graph: the only place that builds those nodes."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.quantize.qparams import QParams
from edgekit.passes.quantize.scheme import PerAxis


class Rewriter:
    """Adds constants and QDQ nodes to one graph under names that nothing else has."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._names = {value.name for value in (*graph.inputs, *graph.initializers.values())}
        for node in graph:
            self._names.update((node.name, *(value.name for value in node.outputs)))

    def unique(self, name: str) -> str:
        """``name``, or the first free ``name_1``, ``name_2``…; the name is taken from now on."""
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    def constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        """A new initializer."""
        unique = self.unique(name)
        tensor = ir.tensor(array, name=unique)
        value = ir.Value(name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def pair(self, source: ir.Value, qparams: QParams, name: str) -> list[ir.Node]:
        """The pair ``source -> <name>_quantized -> <name>_dequantized``, not yet in the graph."""
        scale = self.constant(qparams.scale, f"{name}_scale")
        zero_point = self.constant(qparams.zero_point.astype(np.int8), f"{name}_zero_point")
        quantizer = self._node("QuantizeLinear", [source, scale, zero_point], f"{name}_quantized", ir.DataType.INT8)
        quantized = quantizer.outputs[0]
        dequantizer = self._node(
            "DequantizeLinear", [quantized, scale, zero_point], f"{name}_dequantized", ir.DataType.FLOAT
        )
        quantized.shape = dequantizer.outputs[0].shape = source.shape
        return [quantizer, dequantizer]

    def dequantized_constant(self, codes: NDArray[np.integer], qparams: QParams, name: str) -> ir.Node:
        """DequantizeLinear of a new initializer ``<name>_quantized``; int32 codes (a bias) take no zero point."""
        granularity = qparams.granularity
        inputs = [self.constant(codes, f"{name}_quantized"), self.constant(qparams.scale, f"{name}_scale")]
        if codes.dtype == np.int8:
            inputs.append(self.constant(qparams.zero_point.astype(np.int8), f"{name}_zero_point"))
        axis = granularity.axis if isinstance(granularity, PerAxis) else None
        node = self._node("DequantizeLinear", inputs, f"{name}_dequantized", ir.DataType.FLOAT, axis)
        node.outputs[0].shape = ir.Shape(codes.shape)
        return node

    def insert_after(self, value: ir.Value, nodes: list[ir.Node]) -> None:
        """Put ``nodes`` behind the producer of ``value``, or first when it is a graph input."""
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, nodes)
        else:
            self.graph.insert_before(self.graph[0], nodes)

    def replace_output(self, value: ir.Value, replacement: ir.Value) -> None:
        """Make ``replacement`` the graph output that ``value`` was, name included; ``value`` becomes ``<name>_raw``."""
        outputs = self.graph.outputs
        name = value.name
        value.name = self.unique(f"{name}_raw")
        replacement.name = name
        outputs[:] = [replacement if output is value else output for output in outputs]

    def _node(
        self, op_type: str, inputs: list[ir.Value], output: str, dtype: ir.DataType, axis: int | None = None
    ) -> ir.Node:
        value = ir.Value(name=self.unique(output), type=ir.TensorType(dtype))
        attributes = {} if axis is None else {"axis": axis}
        return ir.node(op_type, inputs, attributes, outputs=[value], name=self.unique(f"{value.name}_node"))
