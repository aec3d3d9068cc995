"""Float operations without an integer kernel in onnxruntime, written as ones that have one.

All of them stand between DequantizeLinear and QuantizeLinear, and stay standard ONNX.
"""

import numpy as np
import onnx_ir as ir

from edgekit.exporters.onnx.qdq import (
    PerTensorParams,
    dequantizer_of,
    insert_behind_quantizer,
    per_tensor_params,
    quantizer_of,
)
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import attribute, constant_value, input_of, is_op, produced_by, shape_of

# A hard sigmoid fills [0, 1]; 255 steps hit both ends exactly.
_UNIT = PerTensorParams(scale=1 / 255, zero_point=-128, dtype=np.dtype(np.int8))


def decompose(model: ir.Model) -> None:
    """Rewrite every operation that has a form which onnxruntime runs on integers; ``model`` carries int8 codes."""
    editor = GraphEditor(model.graph)
    rewrites = {
        "ReduceMean": _spatial_mean,
        "GlobalMaxPool": _global_max_pool,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _hard_swish,
        "Relu": _rescaling_relu,
        "Sub": _subtract_constant,
        "QuantizeLinear": _requantize,
    }
    for node in model.graph:
        if node.graph is model.graph and is_op(node, *rewrites):
            rewrites[node.op_type](node, editor)


def _spatial_mean(node: ir.Node, editor: GraphEditor) -> None:
    """Given: DQ [-> Transpose -> Q -> DQ] -> ReduceMean over height and width -> Q.

    Result: DQ -> GlobalAveragePool -> Q -> Reshape of the codes.
    """
    quantizer = quantizer_of(node.outputs[0])
    if quantizer is None or dequantizer_of(node.inputs[0]) is None:
        return
    assert node.inputs[0] is not None
    source, permutation = _before_transpose(node.inputs[0])
    shape, result = shape_of(source), shape_of(node.outputs[0])
    axes = sorted(permutation[axis] for axis in _axes(node, len(shape)))
    if len(shape) < 3 or axes != list(range(2, len(shape))):
        return
    pooled_shape = (*shape[:2], *([1] * (len(shape) - 2)))
    pooled = editor.insert(node, "GlobalAveragePool", [source], like=node.outputs[0], shape=pooled_shape)
    quantizer.replace_input_with(0, pooled)
    if result != pooled_shape:
        target = editor.constant(np.array(result, np.int64), f"{node.name}_shape")
        insert_behind_quantizer(editor, quantizer, "Reshape", [target], {})
    quantizer.outputs[0].shape = ir.Shape(pooled_shape)
    editor.remove_unused(node.outputs[0])


def _before_transpose(value: ir.Value) -> tuple[ir.Value, list[int]]:
    """What ``value`` (behind a DQ) is a Transpose of, when nothing but its own quantization lies between; and how."""
    identity = list(range(len(shape_of(value))))
    dequantizer = produced_by(value, "DequantizeLinear")
    quantizer = produced_by(dequantizer.inputs[0], "QuantizeLinear") if dequantizer is not None else None
    transpose = produced_by(quantizer.inputs[0], "Transpose") if quantizer is not None else None
    if quantizer is None or transpose is None or transpose.inputs[0] is None:
        return value, identity
    before = dequantizer_of(transpose.inputs[0])
    permutation = attribute(transpose, "perm")
    if before is None or per_tensor_params(before) != per_tensor_params(quantizer) or permutation[:1] != [0]:
        return value, identity
    # Reducing must leave the other axes in their order: one is left besides the batch.
    return transpose.inputs[0], permutation


def _axes(node: ir.Node, rank: int) -> tuple[int, ...]:
    given = constant_value(input_of(node, 1))
    axes = attribute(node, "axes") if given is None else given.tolist()
    return tuple(sorted(axis % rank for axis in axes)) if axes else tuple(range(rank))


def _global_max_pool(node: ir.Node, editor: GraphEditor) -> None:
    """Given: GlobalMaxPool. Result: MaxPool over the whole window, which has an integer kernel."""
    source = node.inputs[0]
    assert source is not None
    window = list(shape_of(source)[2:])
    ones = [1] * len(window)
    attributes = {"kernel_shape": window, "strides": ones, "dilations": ones, "pads": [0] * (2 * len(window))}
    editor.rewrite(node, "MaxPool", [source], attributes)


def _hard_sigmoid(node: ir.Node, editor: GraphEditor) -> None:
    """Given: DQ(s) -> HardSigmoid(alpha, beta) -> Q. Result: DQ(alpha s) -> Add(beta) -> Q, whose saturation clips.

    Only when Q saturates at, or inside, 0 and 1.
    """
    dequantizer, quantizer = dequantizer_of(node.inputs[0]), quantizer_of(node.outputs[0])
    if dequantizer is None or quantizer is None:
        return
    params = per_tensor_params(quantizer)
    alpha, beta = attribute(node, "alpha"), attribute(node, "beta")
    if params is None or alpha <= 0 or beta <= 0:
        return
    if params.unsaturated_code(0.0) > params.quant_min or params.unsaturated_code(1.0) < params.quant_max:
        return
    scaled = _rescaled(editor, node, dequantizer, alpha)
    editor.rewrite(node, "Add", [scaled, _constant(editor, node, beta)])


def _hard_swish(node: ir.Node, editor: GraphEditor) -> None:
    """Given: DQ(s) -> HardSwish -> Q. Result: DQ(s) times the hard sigmoid of DQ(s), itself quantized to 255 steps."""
    dequantizer = dequantizer_of(node.inputs[0])
    if dequantizer is None or quantizer_of(node.outputs[0]) is None:
        return
    source = dequantizer.outputs[0]
    scaled = _rescaled(editor, node, dequantizer, 1 / 6)
    gate = editor.insert(node, "Add", [scaled, _constant(editor, node, 0.5)], like=source)
    gate.name = editor.unique_name(f"{node.outputs[0].name}_gate")
    quantized_gate = _requantized(editor, node, gate, _UNIT)
    editor.rewrite(node, "Mul", [source, quantized_gate])


def _rescaling_relu(node: ir.Node, editor: GraphEditor) -> None:
    """Given: DQ(s1) -> Relu -> Q(s2). Result: LeakyRelu with slope 0: the same, and it has a kernel (a table)."""
    dequantizer, quantizer = dequantizer_of(node.inputs[0]), quantizer_of(node.outputs[0])
    if dequantizer is None or quantizer is None or per_tensor_params(dequantizer) == per_tensor_params(quantizer):
        return
    editor.rewrite(node, "LeakyRelu", [node.inputs[0]], {"alpha": 0.0})


def _requantize(quantizer: ir.Node, editor: GraphEditor) -> None:
    """Given: DQ(s1) -> Q(s2). Result: DQ -> LeakyRelu(slope 1) -> Q: the identity, as a table of codes."""
    source = quantizer.inputs[0]
    dequantizer = dequantizer_of(source)
    if dequantizer is None or per_tensor_params(quantizer) is None:
        return
    assert source is not None
    same = editor.insert(quantizer, "LeakyRelu", [source], {"alpha": 1.0}, like=source)
    quantizer.replace_input_with(0, same)


def _subtract_constant(node: ir.Node, editor: GraphEditor) -> None:
    """Given: x - DQ(codes, z). Result: x + DQ(-1 - codes, -1 - z), the same numbers with the other sign."""
    dequantizer = dequantizer_of(node.inputs[1])
    if dequantizer is None or dequantizer_of(node.inputs[0]) is None:
        return
    codes, params = constant_value(dequantizer.inputs[0]), per_tensor_params(dequantizer)
    if codes is None or params is None:
        return
    name = f"{node.name}_negated"
    inputs = [
        editor.constant(np.asarray(-1 - codes, codes.dtype), f"{name}_quantized"),
        dequantizer.inputs[1],
        editor.constant(np.array(-1 - params.zero_point, codes.dtype), f"{name}_zero_point"),
    ]
    negated = editor.insert(node, "DequantizeLinear", inputs, like=dequantizer.outputs[0])
    editor.rewrite(node, "Add", [node.inputs[0], negated])


def _rescaled(editor: GraphEditor, node: ir.Node, dequantizer: ir.Node, factor: float) -> ir.Value:
    """``factor`` times what ``dequantizer`` makes, at no cost: another scale over the same codes."""
    params = per_tensor_params(dequantizer)
    assert params is not None
    scale = editor.constant(np.array(params.scale * factor, np.float32), f"{node.name}_scaled_scale")
    codes, _, zero_point = dequantizer.inputs
    return editor.insert(node, "DequantizeLinear", [codes, scale, zero_point], like=dequantizer.outputs[0])


def _constant(editor: GraphEditor, node: ir.Node, number: float) -> ir.Value:
    """A positive scalar behind a DequantizeLinear, exact: the largest code times ``number`` / 127."""
    name = f"{node.name}_offset"
    inputs = [
        editor.constant(np.array(127, np.int8), f"{name}_quantized"),
        editor.constant(np.array(number / 127, np.float32), f"{name}_scale"),
        editor.constant(np.array(0, np.int8), f"{name}_zero_point"),
    ]
    return editor.insert(node, "DequantizeLinear", inputs, like=node.outputs[0], shape=())


def _requantized(editor: GraphEditor, node: ir.Node, value: ir.Value, params: PerTensorParams) -> ir.Value:
    scale = editor.constant(np.array(params.scale, np.float32), f"{value.name}_scale")
    zero_point = editor.constant(np.array(params.zero_point, params.dtype), f"{value.name}_zero_point")
    codes = editor.insert(node, "QuantizeLinear", [value, scale, zero_point], like=value)
    codes.type = ir.TensorType(ir.DataType.INT8)
    return editor.insert(node, "DequantizeLinear", [codes, scale, zero_point], like=value)
