"""Static int8: place the codes so that onnxruntime runs everything on integers.

Onnxruntime fuses ``DQ -> op -> Q`` into one integer kernel for the operations that calculate (Conv, Gemm). What only
moves, compares or clips numbers is written here directly on the codes: no runtime has to find out that the pairs
around it cancel. Anything left in float between DQ and Q costs two conversions of the whole tensor.
"""

from collections.abc import Callable

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
from edgekit.graph.queries import (
    attribute,
    constant_scalar,
    constant_value,
    input_of,
    is_op,
    produced_by,
    static_shape,
)

# Move or compare numbers; onnxruntime's CPU kernels take int8 and uint8 (checked with 1.31).
_MOVES = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Max",
        "MaxPool",
        "Min",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
_RESHAPES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
_ALL_INPUTS = frozenset({"Concat", "Max", "Min"})


def place_integers(model: ir.Model) -> None:
    """Fold activations into the rounding that follows them and let data movement run on codes."""
    editor = GraphEditor(model.graph)
    for node in model.graph:
        if node.graph is model.graph and is_op(node, "Relu", "Clip"):
            _fold_activation(node, editor)
    for node in model.graph:
        if node.graph is model.graph and is_op(node, *_MOVES):
            _move_codes(node, editor)
    for node in model.graph:
        if node.graph is model.graph and is_op(node, *_RESHAPES):
            _skip_reshapes(node, editor)


def make_unsigned(model: ir.Model) -> None:
    """Store activations as uint8 (every code and zero point plus 128): x86's instructions multiply u8 by s8.

    Weights stay int8. Runs before ``place_integers``, when only Q and DQ touch codes.
    """
    editor = GraphEditor(model.graph)
    shifted: dict[ir.Value, ir.Value] = {}
    for node in list(model.graph):
        if is_op(node, "QuantizeLinear", "DequantizeLinear") and _carries_activation(node):
            _shift(node, editor, shifted)


def _carries_activation(node: ir.Node) -> bool:
    params = per_tensor_params(node)
    if params is None or params.dtype != np.int8:
        return False
    if constant_value(node.inputs[0]) is None:
        return True
    return not all(_is_weight(use.node, use.idx) for use in node.outputs[0].uses())


def _is_weight(node: ir.Node, index: int) -> bool:
    return index == 1 and is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul")


def _shift(node: ir.Node, editor: GraphEditor, shifted: dict[ir.Value, ir.Value]) -> None:
    codes = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    assert codes is not None
    if codes.is_initializer():
        node.replace_input_with(0, _shifted_constant(codes, editor, shifted))
    else:
        codes.type = ir.TensorType(ir.DataType.UINT8)
    zero_point = node.inputs[2]
    assert zero_point is not None
    node.replace_input_with(2, _shifted_constant(zero_point, editor, shifted))


def _shifted_constant(value: ir.Value, editor: GraphEditor, shifted: dict[ir.Value, ir.Value]) -> ir.Value:
    if value not in shifted:
        array = constant_value(value)
        assert array is not None
        unsigned = (array.astype(np.int16) + 128).astype(np.uint8)
        shifted[value] = editor.constant(unsigned, f"{value.name}_unsigned")
    return shifted[value]


def _fold_activation(node: ir.Node, editor: GraphEditor) -> None:
    """Given: op -> Relu/Clip -> Q. Result: op -> Q [-> Clip on the codes, where saturation does not already do it].

    Exact: Q is monotone, so Q(clip(x, a, b)) = clip(Q(x), Q(a), Q(b)).
    """
    quantizer, bounds = quantizer_of(node.outputs[0]), _bounds(node)
    source = node.inputs[0]
    if quantizer is None or bounds is None or source is None:
        return
    params = per_tensor_params(quantizer)
    assert params is not None
    dequantizer = dequantizer_of(source)
    if dequantizer is not None and per_tensor_params(dequantizer) != params:
        return
    quantizer.replace_input_with(0, source)
    editor.remove_unused(node.outputs[0])
    low, high = (params.code(bound) for bound in bounds)
    if low > params.quant_min or high < params.quant_max:
        limits = [
            editor.constant(np.array(limit, params.dtype), f"{node.name}_{which}_code")
            for which, limit in (("min", low), ("max", high))
        ]
        insert_behind_quantizer(editor, quantizer, "Clip", limits, {})
    if dequantizer is not None:
        _skip_pair(quantizer, dequantizer, editor)


def _bounds(node: ir.Node) -> tuple[float, float] | None:
    if node.op_type == "Relu":
        return 0.0, np.inf
    low, high = (
        default if input_of(node, index) is None else constant_scalar(input_of(node, index))
        for index, default in ((1, -np.inf), (2, np.inf))
    )
    return None if low is None or high is None else (low, high)


def _skip_pair(quantizer: ir.Node, dequantizer: ir.Node, editor: GraphEditor) -> None:
    """Given: codes -> DQ -> Q -> same codes. Result: the codes."""
    codes = dequantizer.inputs[0]
    assert codes is not None
    editor.replace(quantizer.outputs[0], codes)


def _move_codes(node: ir.Node, editor: GraphEditor) -> None:
    """Given: DQ(s, z) -> move -> Q(s, z). Result: move, on the codes."""
    quantizers = [quantizer_of(output) for output in node.outputs]
    if not quantizers or any(quantizer is None for quantizer in quantizers):
        return
    found = {per_tensor_params(quantizer) for quantizer in quantizers if quantizer is not None}
    data = range(len(node.inputs) if node.op_type in _ALL_INPUTS else 1)
    dequantizers = {index: dequantizer_of(node.inputs[index]) for index in data}
    found |= {per_tensor_params(dequantizer) if dequantizer else None for dequantizer in dequantizers.values()}
    params = found.pop()
    if found or params is None or not _CONDITIONS.get(node.op_type, _always)(node):
        return
    for index, dequantizer in dequantizers.items():
        assert dequantizer is not None
        node.replace_input_with(index, dequantizer.inputs[0])
        editor.remove_unused(dequantizer.outputs[0])
    if node.op_type == "Pad":
        _pad_with_code(node, params, editor)
    for output, quantizer in zip(node.outputs, quantizers, strict=True):
        assert quantizer is not None
        output.type = quantizer.outputs[0].type
        editor.replace(quantizer.outputs[0], output, take_name=True)


def _pad_with_code(node: ir.Node, params: PerTensorParams, editor: GraphEditor) -> None:
    number = constant_scalar(input_of(node, 2)) or 0.0
    if attribute(node, "mode") == "constant":
        code = np.array(params.code(number), params.dtype)
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        node.replace_input_with(2, editor.constant(code, f"{node.name}_code"))


def _skip_reshapes(node: ir.Node, editor: GraphEditor) -> None:
    """Given: codes -> Reshape -> ... -> Reshape. Result: one Reshape, or none where the first shape comes back.

    A Reshape between two convolutions costs onnxruntime two layout changes.
    """
    source = node.inputs[0]
    while (earlier := produced_by(source, *_RESHAPES)) is not None:
        source = earlier.inputs[0]
    output, shape = node.outputs[0], static_shape(node.outputs[0])
    if source is None or source is node.inputs[0] or shape is None:
        return
    if static_shape(source) == shape and not output.is_graph_output():
        editor.replace(output, source)
    else:
        target = editor.constant(np.array(shape, np.int64), f"{node.name}_shape")
        editor.rewrite(node, "Reshape", [source, target])


def _always(_: ir.Node) -> bool:
    return True


def _is_plain_pad(node: ir.Node) -> bool:
    value = input_of(node, 2)
    return value is None or constant_scalar(value) is not None


def _is_nearest(node: ir.Node) -> bool:
    # Linear and cubic modes truncate on integers instead of rounding.
    return bool(attribute(node, "mode") == "nearest")


_CONDITIONS: dict[str, Callable[[ir.Node], bool]] = {"Pad": _is_plain_pad, "Resize": _is_nearest}
