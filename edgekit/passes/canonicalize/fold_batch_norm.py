"""BatchNormalization, and whatever else scales and shifts channels, goes into the weights of its neighbour."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.errors import ModelError
from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    attribute,
    constant_value,
    input_of,
    is_constant,
    is_floating,
    is_op,
    produced_by,
    shape_of,
    single_consumer,
)
from edgekit.graph.windows import window

Array = np.ndarray[Any, Any]


class LowerBatchNorm(RewritePass):
    """BatchNormalization in inference mode is one Mul and one Add per channel (Ioffe & Szegedy 2015, algorithm 2).

    Given:
        BatchNormalization(x, scale, bias, mean, var, epsilon)
    Result:
        Add(Mul(x, m), a), m = scale / sqrt(var + epsilon), a = bias - mean m, of shape (1, C, 1, 1)

    Raises ``ModelError`` for a node in training mode: it normalizes with the statistics of the batch at hand.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the BatchNormalization."""
        if not is_op(node, "BatchNormalization"):
            return False
        if attribute(node, "training_mode"):
            raise ModelError(
                f"node {node.name!r}: BatchNormalization in training mode; export the model after model.eval()"
            )
        x = node.inputs[0]
        parameters = [constant_value(value) for value in node.inputs[1:]]
        if x is None or any(array is None for array in parameters):
            return False
        scale, bias, mean, variance = (array.astype(np.float64) for array in parameters if array is not None)
        with np.errstate(all="ignore"):
            multiplier = scale / np.sqrt(variance + attribute(node, "epsilon"))
            addend = bias - mean * multiplier
        shape = (1, -1, *[1] * (len(shape_of(x)) - 2))
        dtype = x.dtype.numpy() if x.dtype is not None else np.float32
        name = node.outputs[0].name
        with np.errstate(over="ignore"):
            multiplier, addend = multiplier.astype(dtype).reshape(shape), addend.astype(dtype).reshape(shape)
        scaled = editor.insert(node, "Mul", [x, editor.constant(multiplier, f"{name}/scale")], like=node.outputs[0])
        editor.rewrite(node, "Add", [scaled, editor.constant(addend, f"{name}/shift")])
        return True


@dataclass(frozen=True, slots=True)
class Affine:
    """``y = multiplier * x + addend``: a Mul, Div, Add or Sub node with one constant; float64, of x's rank."""

    x: ir.Value
    multiplier: Array
    addend: Array


def affine(node: ir.Node) -> Affine | None:
    """The node as an affine map of its one variable input, when its output has that input's shape; else None."""
    if not is_op(node, "Mul", "Div", "Add", "Sub") or not is_floating(node.outputs[0]):
        return None
    left, right = node.inputs
    if left is None or right is None or is_constant(left) == is_constant(right):
        return None
    x, constant = (right, left) if is_constant(left) else (left, right)
    if shape_of(x) != shape_of(node.outputs[0]):
        return None
    array = constant_value(constant)
    assert array is not None
    array = array.astype(np.float64)
    array = array.reshape((1,) * (len(shape_of(x)) - array.ndim) + array.shape)
    one, zero = np.ones_like(array), np.zeros_like(array)
    match node.op_type, x is left:
        case "Mul", _:
            return Affine(x, array, zero)
        case "Add", _:
            return Affine(x, one, array)
        case "Sub", x_first:
            return Affine(x, one, -array) if x_first else Affine(x, -one, array)
        case "Div", True:
            with np.errstate(divide="ignore"):
                return Affine(x, one / array, zero)
    return None


def per_channel(array: Array, channels: int, axis: int) -> Array | None:
    """A constant that varies along ``axis`` only, as ``channels`` numbers; None when it varies elsewhere."""
    axis %= array.ndim
    if any(size != 1 for index, size in enumerate(array.shape) if index != axis):
        return None
    return np.broadcast_to(array.reshape(-1), (channels,))


class FoldIntoPrevious(RewritePass):
    """A per-channel Mul, Add, Sub or Div behind a layer with constant weights goes into weights and bias.

    Given:
        Conv(x, w, b) -> Mul(., m[1,C,1,1]) -> Add(., a[1,C,1,1])
    Result:
        Conv(x, m w, m b + a)

    Also for ConvTranspose, Gemm and (Mul only) MatMul, grouped and depthwise. Not when anybody else reads the layer's
    output, when the constant varies along another axis than the channels', or when a new weight would not be finite.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Mul, Add, Sub or Div."""
        if not is_op(node, "Mul", "Add", "Sub", "Div"):
            return False
        layer = next((n for v in node.inputs if (n := produced_by(v, "Conv", "ConvTranspose", "Gemm", "MatMul"))), None)
        if layer is None or single_consumer(layer.outputs[0]) is not node or not has_constant_weights(layer):
            return False
        form = affine(node)
        if form is None or form.x is not layer.outputs[0]:
            return False
        axis = -1 if layer.op_type == "MatMul" else 1
        channels = shape_of(layer.outputs[0])[axis]
        multiplier = per_channel(form.multiplier, channels, axis)
        addend = per_channel(form.addend, channels, axis)
        if multiplier is None or addend is None or (layer.op_type == "MatMul" and addend.any()):
            return False
        if not scale_layer(layer, multiplier, addend, editor):
            return False
        editor.replace(node.outputs[0], layer.outputs[0], take_name=True)
        return True


def has_constant_weights(layer: ir.Node) -> bool:
    """Whether weights and (where given) bias are constants; a Gemm must be in canonical form already."""
    bias = input_of(layer, 2)
    if layer.op_type == "Gemm" and not (attribute(layer, "transB") == 1 and attribute(layer, "alpha") == 1):
        return False
    if layer.op_type == "MatMul" and is_constant(layer.inputs[0]):
        return False
    return is_constant(layer.inputs[1]) and len(shape_of_weight(layer)) > 1 and (bias is None or is_constant(bias))


def shape_of_weight(layer: ir.Node) -> tuple[int, ...]:
    """The shape of the second input."""
    assert layer.inputs[1] is not None
    return shape_of(layer.inputs[1])


def scale_layer(layer: ir.Node, multiplier: Array, addend: Array, editor: GraphEditor) -> bool:
    """Let ``layer`` give ``multiplier * y + addend`` for its output channels; False where that would not be finite."""
    weight, bias = constant_value(layer.inputs[1]), constant_value(input_of(layer, 2))
    assert weight is not None
    with np.errstate(all="ignore"):
        new_weight = (weight * _against_weight(layer, weight, multiplier)).astype(weight.dtype)
        new_bias = (addend if bias is None else bias * multiplier + addend).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return False
    if (multiplier != 1).any():
        editor.with_constant(layer, 1, new_weight)
    if bias is not None or addend.any():
        editor.with_constant(layer, 2, new_bias, f"{layer.outputs[0].name}/bias")
    return True


def _against_weight(layer: ir.Node, weight: Array, multiplier: Array) -> Array:
    """The output channels' multipliers, shaped to broadcast against the weight."""
    if layer.op_type == "MatMul":
        return multiplier
    if layer.op_type != "ConvTranspose":
        return multiplier.reshape(-1, *[1] * (weight.ndim - 1))
    # [in, out / group, ...]: the input channels of group g produce the output channels of group g.
    group = attribute(layer, "group")
    rows = multiplier.reshape(group, 1, -1).repeat(weight.shape[0] // group, axis=1)
    return rows.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))


class FoldIntoNext(RewritePass):
    """A scalar Mul in front of a layer goes into its weights; where nothing is padded, also a per-channel Add.

    Given:
        x -> Mul(., 1/127.5) -> Add(., -1) -> Conv(., w, b, pads=0)
    Result:
        x -> Conv(., w / 127.5, b - sum(w))

    A Mul that differs between input channels stays: it would spread the weights of each output channel and spoil their
    int8 grid.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Mul, Add, Sub or Div."""
        layer = single_consumer(node.outputs[0])
        if layer is None or not is_op(layer, "Conv", "Gemm") or layer.inputs[0] is not node.outputs[0]:
            return False
        form = affine(node)
        if form is None or not has_constant_weights(layer):
            return False
        channels = shape_of(form.x)[1]
        multiplier, addend = per_channel(form.multiplier, channels, 1), per_channel(form.addend, channels, 1)
        if multiplier is None or addend is None or not channels or (multiplier != multiplier[0]).any():
            return False
        if addend.any() and layer.op_type == "Conv" and any(window(layer).pads):
            return False
        if not _absorb(layer, float(multiplier[0]), addend, editor):
            return False
        layer.replace_input_with(0, form.x)
        editor.remove_unused(node.outputs[0])
        return True


def _absorb(layer: ir.Node, multiplier: float, addend: Array, editor: GraphEditor) -> bool:
    weight, bias = constant_value(layer.inputs[1]), constant_value(input_of(layer, 2))
    assert weight is not None
    exact = weight.astype(np.float64)
    group = attribute(layer, "group") if layer.op_type == "Conv" else 1
    summed = exact.reshape(*weight.shape[:2], -1).sum(axis=2)
    inputs = addend.reshape(group, 1, -1).repeat(weight.shape[0] // group, axis=1).reshape(summed.shape)
    shift = (summed * inputs).sum(axis=1)
    with np.errstate(all="ignore"):
        new_weight = (exact * multiplier).astype(weight.dtype)
        new_bias = (shift if bias is None else bias + shift).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return False
    if multiplier != 1:
        editor.with_constant(layer, 1, new_weight)
    if addend.any():
        editor.with_constant(layer, 2, new_bias, f"{layer.outputs[0].name}/bias")
    return True
