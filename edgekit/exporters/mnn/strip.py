"""From the quantized graph back to a float one for MNN's converter, with the quantization beside it.

    Given:  x -> QuantizeLinear -> DequantizeLinear -> Conv(weight codes -> DequantizeLinear) -> Relu -> Q -> DQ -> y
    Result: x -> Conv(weight = codes * scale) -> Relu -> y, and {x: (scale, zero_point), y: ..., weight: scales}

MNN rounds ``weight / scale`` to the nearest integer: exactly the codes that the weight was made of.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import Array, GraphEditor, constant_array


@dataclass(frozen=True, slots=True)
class ActivationQuantization:
    """``real = (code - zero_point) * scale`` with int8 codes."""

    scale: float
    zero_point: int


@dataclass
class FloatGraph:
    """A float model and what its values are quantized with, by value name.

    ``weights`` holds float32 scales: one for each output channel, or a single one. ``static`` says that activations are
    quantized at all.
    """

    model: ir.Model
    activations: dict[str, ActivationQuantization] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    static: bool = False

    def inherit(self, value: ir.Value, source: ir.Value) -> None:
        """Quantize ``value`` as ``source`` is, if it is."""
        quantization = self.activations.get(source.name or "")
        if quantization is not None:
            self.activations[value.name or ""] = quantization


def strip_quantization(model: ir.Model) -> FloatGraph:
    """A float copy of ``model``, which stays as it is; a graph without QDQ pairs comes back equal."""
    stripped = FloatGraph(model.clone())
    editor = GraphEditor(stripped.model.graph)
    for node in list(editor.graph):
        if node.op_type == "DequantizeLinear":
            if constant_array(node.inputs[0]) is not None:
                _dequantize_constant(editor, stripped, node)
            else:
                _bypass_pair(editor, stripped, node)
    editor.drop_unused()
    return stripped


def _dequantize_constant(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    codes, scale = constant_array(node.inputs[0]), constant_array(node.inputs[1])
    assert codes is not None and scale is not None
    zero_point = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    axis = node.attributes.get_int("axis", 1)
    along = [1] * codes.ndim
    if scale.ndim:
        along[axis] = -1
    offset = 0 if zero_point is None else zero_point.astype(np.int32).reshape(along if zero_point.ndim else ())
    # int32 codes (a bias) need float64: float32 rounds above 2**24.
    real = (codes.astype(np.int64) - offset) * scale.astype(np.float64).reshape(along if scale.ndim else ())
    value = editor.constant(real.astype(np.float32), node.outputs[0].name or "constant")
    if codes.dtype == np.int8:
        if scale.ndim or not np.any(offset):
            stripped.weights[value.name or ""] = scale.reshape(-1)
        if not scale.ndim:
            stripped.activations[value.name or ""] = ActivationQuantization(float(scale), int(offset))
    node.outputs[0].replace_all_uses_with(value)


def _bypass_pair(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    quantizer = node.inputs[0].producer() if node.inputs[0] is not None else None
    assert quantizer is not None and quantizer.op_type == "QuantizeLinear"
    source, output = quantizer.inputs[0], node.outputs[0]
    scale, zero_point = constant_array(node.inputs[1]), constant_array(node.inputs[2])
    assert source is not None and scale is not None and zero_point is not None
    quantization = ActivationQuantization(float(scale), int(zero_point))
    stripped.static = True
    # A second pair on one value requantizes it; MNN does that by itself where two neighbours disagree.
    known = stripped.activations.setdefault(source.name or "", quantization)
    if not output.is_graph_output():
        output.replace_all_uses_with(source)
        return
    name = output.name or ""
    if source.is_graph_input() or source.is_graph_output():
        assert source.shape is not None
        copy = editor.node(node, "Identity", [source], shape=source.shape.numpy(), name=f"{name}_copy")
        source = copy
    else:
        del stripped.activations[source.name or ""]
    stripped.activations[name] = known
    editor.replace(output, source)
