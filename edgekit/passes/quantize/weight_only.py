"""Schemes that need no calibration: integer weights with float activations, and half-precision weights."""

import numpy as np
import onnx_ir as ir

from edgekit.errors import ModelError
from edgekit.interface import Precision
from edgekit.passes.quantize.assignment import has_weight
from edgekit.passes.quantize.op_rules import OP_RULES, OpRule
from edgekit.passes.quantize.qparams import channel_bounds, choose_symmetric_qparams, quantize
from edgekit.passes.quantize.rewrite import Rewriter
from edgekit.passes.quantize.scheme import Granularity, PerAxis, PerTensor, QuantizationScheme

# TFLite's converter keeps smaller weights float in dynamic-range files: the saving is not worth an operator.
MIN_ELEMENTS = 1024
FLOAT16_MAX = 65504.0


def quantize_weights(model: ir.Model, scheme: QuantizationScheme) -> ir.Model:
    """A copy of ``model`` whose weights are int8 behind a DequantizeLinear each; biases and activations stay float.

    With int8-dynamic, depthwise convolutions stay float: TFLite's hybrid depthwise kernel is not accelerated.
    """
    quantized = model.clone()
    rewriter = Rewriter(quantized.graph)
    done: dict[tuple[str, int | None], ir.Value] = {}
    for node in list(quantized.graph):
        rule = OP_RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is not None and node.op_type not in scheme.float_ops and _wants_weight(node, rule, scheme.precision):
            _quantize_weight(rewriter, node, rule, scheme, done)
    return quantized


def round_to_half(model: ir.Model) -> ir.Model:
    """A copy of ``model`` whose float constants hold float16 values (round to nearest even), still stored as float32.

    Raises:
        ModelError: a constant is beyond float16's range; its infinities stay as they are.
    """
    rounded = model.clone()
    for name, value in rounded.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or value.dtype != ir.DataType.FLOAT:
            continue
        array = tensor.numpy()
        if np.any(np.abs(array[np.isfinite(array)]) > FLOAT16_MAX):
            raise ModelError(
                f"constant '{name}': {np.abs(array).max():g} is beyond float16's {FLOAT16_MAX:g}; "
                "use --precision fp32 or int8, or rescale the model"
            )
        value.const_value = ir.tensor(array.astype(np.float16).astype(np.float32), name=name)
    return rounded


def _wants_weight(node: ir.Node, rule: OpRule, precision: Precision) -> bool:
    if rule.weight is None or not has_weight(node, rule):
        return False
    weight = node.inputs[rule.weight]
    assert weight is not None and weight.const_value is not None
    if weight.dtype != ir.DataType.FLOAT or weight.const_value.size < MIN_ELEMENTS:
        return False
    return precision is Precision.INT8_WEIGHTS or node.attributes.get_int("group", 1) == 1


def _quantize_weight(
    rewriter: Rewriter,
    node: ir.Node,
    rule: OpRule,
    scheme: QuantizationScheme,
    done: dict[tuple[str, int | None], ir.Value],
) -> None:
    assert rule.weight is not None
    value = node.inputs[rule.weight]
    assert value is not None and value.const_value is not None
    axis = rule.weight_axis(node) if scheme.weight_granularity == "per_axis" else None
    key = (value.name or "", axis)
    if key not in done:
        granularity: Granularity = PerTensor() if axis is None else PerAxis(axis)
        weight = value.const_value.numpy()
        qparams = choose_symmetric_qparams(channel_bounds(weight, granularity), scheme.weight_quant_max, granularity)
        dequantizer = rewriter.dequantized_constant(quantize(weight, qparams), qparams, key[0])
        node.prepend(dequantizer)
        done[key] = dequantizer.outputs[0]
    node.replace_input_with(rule.weight, done[key])
