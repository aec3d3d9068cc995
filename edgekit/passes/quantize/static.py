"""Static int8: activations per tensor and asymmetric, weights per axis and symmetric, biases int32.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.quantize.assignment import (
    Assignment,
    Group,
    activation_inputs,
    assign,
    constant,
    has_weight,
)
from edgekit.passes.quantize.calibration import Calibration
from edgekit.passes.quantize.op_rules import OpRule
from edgekit.passes.quantize.qparams import (
    QParams,
    channel_bounds,
    choose_qparams,
    choose_symmetric_qparams,
    quantize,
)
from edgekit.passes.quantize.rewrite import Rewriter
from edgekit.passes.quantize.scheme import Granularity, PerAxis, PerTensor, QuantizationScheme

INT32_MAX = 2**31 - 1


def quantize_static(model: ir.Model, scheme: QuantizationScheme, calibration: Calibration) -> ir.Model:
    """A copy of the canonical float ``model`` with QDQ pairs and integer weights; see the module's docstring."""
    quantized = model.clone()
    assignment = assign(quantized, scheme.float_ops)
    qparams = {id(group): _group_qparams(group, calibration) for group in assignment.groups.values() if group.computed}
    rewriter = Rewriter(quantized.graph)
    of_value = {value: qparams[id(assignment.groups[value])] for value in assignment.quantized_values()}
    for node, rule in assignment.rules.items():
        if has_weight(node, rule):
            _quantize_weight(rewriter, node, rule, of_value, scheme)
    _requantize_edges(rewriter, assignment, qparams)
    for value, parameters in of_value.items():
        _quantize_value(rewriter, value, parameters, assignment)
    quantized.graph.sort()
    return quantized


def _group_qparams(group: Group, calibration: Calibration) -> QParams:
    if group.fixed is not None:
        return group.fixed
    bounds = []
    for value in group.members:
        tensor = constant(value)
        if tensor is not None:
            array = tensor.numpy()
            bounds.append((float(array.min(initial=0)), float(array.max(initial=0))))
        else:
            observed = calibration.ranges[value.name or ""]
            bounds.append((observed.minimum, observed.maximum))
    return choose_qparams(min(low for low, _ in bounds), max(high for _, high in bounds))


def _quantize_weight(
    rewriter: Rewriter, node: ir.Node, rule: OpRule, of_value: Mapping[ir.Value, QParams], scheme: QuantizationScheme
) -> None:
    assert rule.weight is not None
    value = node.inputs[rule.weight]
    assert value is not None and value.const_value is not None
    weight = value.const_value.numpy().astype(np.float32)
    axis = rule.weight_axis(node) if scheme.weight_granularity == "per_axis" else None
    granularity: Granularity = PerTensor() if axis is None else PerAxis(axis)
    (_, source), *_ = activation_inputs(node, rule)
    input_scale = float(of_value[source].scale)
    bias = constant(node.inputs[rule.bias]) if rule.bias is not None and len(node.inputs) > rule.bias else None
    bias_array = None if bias is None else bias.numpy().astype(np.float64)
    bounds = channel_bounds(weight, granularity)
    if bias_array is not None:
        # The bias must fit int32 at the scale that the accumulator has (TFLite raises the weight scale likewise).
        least = np.abs(bias_array) / (INT32_MAX * input_scale) * scheme.weight_quant_max * 1.001
        bounds = np.maximum(bounds, least if axis is not None else least.max(initial=0.0))
    qparams = choose_symmetric_qparams(bounds, scheme.weight_quant_max, granularity)
    dequantize_weight = rewriter.dequantized_constant(quantize(weight, qparams), qparams, value.name or "")
    node.prepend(dequantize_weight)
    node.replace_input_with(rule.weight, dequantize_weight.outputs[0])
    if bias_array is not None and rule.bias is not None:
        _quantize_bias(rewriter, node, rule.bias, bias_array, input_scale * qparams.scale.astype(np.float64))


def _quantize_bias(
    rewriter: Rewriter,
    node: ir.Node,
    index: int,
    bias: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    value = node.inputs[index]
    assert value is not None
    scales = np.broadcast_to(scale, bias.shape).astype(np.float32)
    codes = np.clip(np.rint(bias / scales.astype(np.float64)), -INT32_MAX, INT32_MAX).astype(np.int32)
    qparams = QParams(scales, np.zeros(scales.shape, np.int32), -INT32_MAX, INT32_MAX, PerAxis(0))
    dequantizer = rewriter.dequantized_constant(codes, qparams, value.name or "")
    node.prepend(dequantizer)
    node.replace_input_with(index, dequantizer.outputs[0])


def _requantize_edges(rewriter: Rewriter, assignment: Assignment, qparams: Mapping[int, QParams]) -> None:
    for edge in assignment.requantizations:
        source = edge.node.inputs[edge.index]
        assert source is not None
        parameters = qparams[id(assignment.groups[edge.node.outputs[0]])]
        name = rewriter.unique(f"{source.name}_requantized")
        pair = rewriter.quantize_dequantize(source, parameters, name)
        for node in pair:
            edge.node.prepend(node)
        edge.node.replace_input_with(edge.index, pair[-1].outputs[0])


def _quantize_value(rewriter: Rewriter, value: ir.Value, qparams: QParams, assignment: Assignment) -> None:
    tensor = constant(value)
    uses = list(value.uses())
    if tensor is not None:
        uses = [use for use in uses if use.node in assignment.rules]
        node = rewriter.dequantized_constant(quantize(tensor.numpy(), qparams), qparams, value.name or "")
        rewriter.graph.insert_before(uses[0].node, node)
    else:
        pair = rewriter.quantize_dequantize(value, qparams, value.name or "")
        rewriter.insert_after(value, pair)
        node = pair[-1]
        if value.is_graph_output():
            rewriter.replace_output(value, node.outputs[0])
    for use in uses:
        use.node.replace_input_with(use.idx, node.outputs[0])
