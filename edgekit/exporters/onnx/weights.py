"""Integer weights with float activations: int8-dynamic and int8-weights files, and what static int8 leaves in float.

Onnxruntime repeats a DequantizeLinear of a constant at every run, and cannot rearrange such a weight for its fast float
kernels: an int8-weights EfficientNet-Lite1 ran 2.3 times slower than float. ``Cast -> Mul`` is the same number, and is
folded once, when the file is loaded. ConvInteger is 3 to 12 times slower than the float kernel (measured with 1.31 on
VNNI), so that only matrix multiplications calculate on integers in int8-dynamic files.
"""

import numpy as np
import onnx_ir as ir

from edgekit.exporters.onnx.qdq import Array
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import attribute, constant_value, input_of, is_op, produced_by, shape_of

# Onnxruntime takes their dequantized constants as codes, between DQ and Q. ConvTranspose has no such kernel, but float
# weights of it onnxruntime would quantize again, in its own way (WeightBiasQuantization).
_INTEGER_OPS = frozenset({"Add", "Concat", "Conv", "ConvTranspose", "Gemm", "MatMul", "Mul"})


def multiply_integers(model: ir.Model) -> None:
    """Given: x, DQ(w) -> Gemm or MatMul. Result: DynamicQuantizeLinear(x), w -> MatMulInteger -> Cast -> Mul [-> Add].

    Onnxruntime runs the whole chain as one DynamicQuantizeMatMul.
    """
    editor = GraphEditor(model.graph)
    for node in model.graph:
        if node.graph is model.graph and is_op(node, "Gemm", "MatMul"):
            _multiply_integers(node, editor)


def fold_at_load(model: ir.Model, *, keep_integer_ops: bool = False) -> None:
    """Given: DQ(codes, scale) of a constant. Result: Cast(codes) -> Mul(scale).

    ``keep_integer_ops``: not where a static int8 operation takes the codes.
    """
    editor = GraphEditor(model.graph)
    for node in model.graph:
        if node.graph is not model.graph or not is_op(node, "DequantizeLinear"):
            continue
        if keep_integer_ops and all(is_op(use.node, *_INTEGER_OPS) for use in node.outputs[0].uses()):
            continue
        _fold_at_load(node, editor)


def _fold_at_load(node: ir.Node, editor: GraphEditor) -> None:
    codes, scale = constant_value(node.inputs[0]), constant_value(node.inputs[1])
    zero_point = constant_value(input_of(node, 2))
    if codes is None or scale is None or (zero_point is not None and zero_point.any()):
        return
    source = node.inputs[0]
    assert source is not None
    real = editor.insert(node, "Cast", [source], {"to": ir.DataType.FLOAT.value}, like=node.outputs[0])
    factor = editor.constant(_along(scale, node, codes.ndim), f"{node.name}_factor")
    editor.rewrite(node, "Mul", [real, factor])


def _along(scale: Array, node: ir.Node, rank: int) -> Array:
    """The scales of a DQ node, shaped to multiply its codes."""
    if scale.size == 1:
        return scale.reshape(())
    shape = [1] * rank
    shape[attribute(node, "axis") % rank] = scale.size
    return scale.reshape(shape)


def _multiply_integers(node: ir.Node, editor: GraphEditor) -> None:
    source, weight = node.inputs[0], produced_by(node.inputs[1], "DequantizeLinear")
    codes = constant_value(weight.inputs[0]) if weight is not None else None
    scale = constant_value(weight.inputs[1]) if weight is not None else None
    if source is None or weight is None or codes is None or scale is None or codes.ndim != 2:
        return
    transposed = node.op_type == "Gemm" and attribute(node, "transB") == 1
    if scale.size > 1 and attribute(weight, "axis") % 2 != (0 if transposed else 1):
        return
    name = node.name or node.op_type
    matrix = editor.constant(np.ascontiguousarray(codes.T if transposed else codes), f"{name}_weight")
    quantized, step, zero_point = _dynamically_quantized(source, node, editor)
    product = editor.insert(
        node, "MatMulInteger", [quantized, matrix, zero_point], like=node.outputs[0], shape=shape_of(node.outputs[0])
    )
    product.type = ir.TensorType(ir.DataType.INT32)
    real = editor.insert(node, "Cast", [product], {"to": ir.DataType.FLOAT.value}, like=node.outputs[0])
    scales = editor.constant(scale.reshape(-1) if scale.size > 1 else scale.reshape(()), f"{name}_scales")
    factor = editor.insert(node, "Mul", [step, scales], like=step, shape=scale.shape if scale.size > 1 else ())
    bias = input_of(node, 2)
    if bias is None:
        editor.rewrite(node, "Mul", [real, factor])
    else:
        scaled = editor.insert(node, "Mul", [real, factor], like=node.outputs[0])
        editor.rewrite(node, "Add", [scaled, bias])


def _dynamically_quantized(source: ir.Value, node: ir.Node, editor: GraphEditor) -> tuple[ir.Value, ...]:
    """The three outputs of DynamicQuantizeLinear(source), one node for all its readers."""
    for use in source.uses():
        if is_op(use.node, "DynamicQuantizeLinear"):
            return tuple(use.node.outputs)
    name = source.name or "x"
    kinds = ((ir.DataType.UINT8, source.shape), (ir.DataType.FLOAT, ir.Shape(())), (ir.DataType.UINT8, ir.Shape(())))
    outputs = [
        ir.Value(name=editor.unique_name(f"{name}_{suffix}"), type=ir.TensorType(dtype), shape=shape)
        for suffix, (dtype, shape) in zip(("codes", "scale", "zero_point"), kinds, strict=True)
    ]
    quantizer = ir.node("DynamicQuantizeLinear", [source], outputs=outputs, name=f"{name}_dynamic")
    editor.graph.insert_before(node, quantizer)
    return tuple(outputs)
