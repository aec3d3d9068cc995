"""Fully connected layers as one form of Gemm."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import attribute, constant_value, input_of, is_constant, is_floating, is_op, shape_of


class MatMulToGemm(RewritePass):
    """A two-dimensional MatMul with constant weights is a fully connected layer.

    Given:
        MatMul(x[n, in], w[in, out])
    Result:
        Gemm(x, w'[out, in], transB=1), w' = w transposed
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the MatMul."""
        if not is_op(node, "MatMul") or not is_floating(node.outputs[0]) or is_constant(node.inputs[0]):
            return False
        x, weight = node.inputs
        assert x is not None and weight is not None
        array = constant_value(weight)
        if array is None or array.ndim != 2 or len(shape_of(x)) != 2:
            return False
        output = editor.rewrite(node, "Gemm", [x, weight], {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1})
        gemm = output.producer()
        assert gemm is not None
        editor.with_constant(gemm, 1, array.T)
        return True


class NormalizeGemm(RewritePass):
    """One form of Gemm: ``x[n, in] @ w[out, in]ᵀ + b[out]``, w and b constant; the rest becomes MatMul and Add.

    Given:
        Gemm(x, w[in, out], c, alpha=2, beta=3, transB=0)
    Result:
        Gemm(x, 2 wᵀ, 3 c, alpha=1, beta=1, transA=0, transB=1)

    Given:
        Gemm(a, b, c) with b (or a row-dependent c) that is no constant
    Result:
        Add(MatMul(a, b), c)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Gemm."""
        if not is_op(node, "Gemm") or not is_floating(node.outputs[0]) or _is_canonical(node):
            return False
        if attribute(node, "transA"):
            node.replace_input_with(0, _transposed(node, 0, editor))
            node.attributes["transA"] = ir.AttrInt64("transA", 0)
        if constant_value(node.inputs[1]) is None:
            _to_matmul(node, editor)
        else:
            _normalize(node, editor)
        return True


def _is_canonical(node: ir.Node) -> bool:
    bias = input_of(node, 2)
    return (
        is_constant(node.inputs[1])
        and all(name in node.attributes for name in ("alpha", "beta", "transA", "transB"))
        and attribute(node, "alpha") == attribute(node, "beta") == attribute(node, "transB") == 1
        and attribute(node, "transA") == 0
        and len(node.inputs) == (2 if bias is None else 3)
        and (bias is None or (is_constant(bias) and shape_of(bias) == shape_of(node.outputs[0])[1:]))
    )


def _transposed(node: ir.Node, index: int, editor: GraphEditor) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return editor.insert(node, "Transpose", [value], {"perm": [1, 0]}, like=value, shape=shape_of(value)[::-1])


def _normalize(node: ir.Node, editor: GraphEditor) -> None:
    weight = constant_value(node.inputs[1])
    assert weight is not None
    scaled = weight if attribute(node, "transB") else weight.T
    alpha, beta = attribute(node, "alpha"), attribute(node, "beta")
    if alpha != 1:
        scaled = (scaled.astype(np.float64) * alpha).astype(weight.dtype)
    if scaled is not weight:
        editor.with_constant(node, 1, scaled)
    for name, value in (("alpha", 1.0), ("beta", 1.0)):
        node.attributes[name] = ir.AttrFloat32(name, value)
    for name, flag in (("transA", 0), ("transB", 1)):
        node.attributes[name] = ir.AttrInt64(name, flag)
    _normalize_bias(node, beta, editor)


def _normalize_bias(node: ir.Node, beta: float, editor: GraphEditor) -> None:
    bias = input_of(node, 2)
    outputs = shape_of(node.outputs[0])[1]
    if bias is None or beta == 0:
        node.resize_inputs(2)
        editor.remove_unused(bias)
        return
    array = constant_value(bias)
    if array is None or (array.ndim == 2 and array.shape[0] > 1):
        node.resize_inputs(2)
        _add_behind(node, _scaled(node, bias, beta, editor), editor)
        return
    flat = np.broadcast_to(array.reshape(-1), (outputs,))
    if beta != 1:
        flat = (flat.astype(np.float64) * beta).astype(array.dtype)
    if flat.shape != array.shape or beta != 1:
        editor.with_constant(node, 2, flat)


def _scaled(node: ir.Node, value: ir.Value, factor: float, editor: GraphEditor) -> ir.Value:
    if factor == 1:
        return value
    assert value.dtype is not None
    constant = editor.constant(np.array(factor, dtype=value.dtype.numpy()), f"{node.name}/factor")
    return editor.insert(node, "Mul", [value, constant], like=value)


def _add_behind(node: ir.Node, bias: ir.Value, editor: GraphEditor) -> None:
    """Given: ``Gemm -> y``. Result: ``Gemm -> Add(., bias) -> y``."""
    output = node.outputs[0]
    product = editor.insert(node, "Gemm", node.inputs, node.attributes, like=output)
    editor.replace(output, editor.insert(node, "Add", [product, bias], like=output), take_name=True)


def _to_matmul(node: ir.Node, editor: GraphEditor) -> None:
    a = node.inputs[0]
    b = _transposed(node, 1, editor) if attribute(node, "transB") else node.inputs[1]
    bias, beta = input_of(node, 2), attribute(node, "beta")
    assert a is not None
    output = node.outputs[0]
    product = editor.insert(node, "MatMul", [a, b], like=output)
    product = _scaled(node, product, attribute(node, "alpha"), editor)
    if bias is not None and beta != 0:
        product = editor.insert(node, "Add", [product, _scaled(node, bias, beta, editor)], like=output)
    editor.replace(output, product, take_name=True)
