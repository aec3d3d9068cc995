"""What a Conv, Gemm or MatMul computes, as one matrix: output = matrix @ [patch of the input; 1]."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import attribute, constant_value, input_of, is_op, shape_of, single_consumer, static_shape
from edgekit.passes.prune.network import Array, Weights

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with a constant weight, and its bias: that of a MatMul is the constant of the Add that alone reads it.

    ``output`` has the bias in it. A grouped convolution has several ``blocks``, each of so many ``outputs`` and
    ``columns`` (input channels x kernel).
    """

    node: ir.Node
    source: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    output: ir.Value
    blocks: int
    outputs: int
    columns: int

    @property
    def shares(self) -> bool:
        """Whether replacing the weight or the bias would change another node too, or an output of the model."""
        constants = [self.weight] if self.bias is None else [self.weight, self.bias]
        return any(len(value.uses()) > 1 or value.is_graph_output() for value in constants)

    def matrix(self, weights: Weights) -> NDArray[np.float64]:
        """[blocks, outputs, columns + 1]; missing ``weights`` are the model's own, and no bias is 0."""
        weight = _array(self.weight, weights)
        if self.node.op_type == "MatMul" or (self.node.op_type == "Gemm" and not attribute(self.node, "transB")):
            weight = weight.T
        matrix = np.zeros((self.blocks, self.outputs, self.columns + 1))
        matrix[..., :-1] = weight.reshape(self.blocks, self.outputs, self.columns)
        if self.bias is not None:
            matrix[..., -1] = _array(self.bias, weights).reshape(self.blocks, self.outputs)
        alpha, beta = _factors(self.node)
        matrix[..., :-1] *= alpha
        matrix[..., -1] *= beta
        return matrix

    def weights(self, matrix: NDArray[np.float64]) -> dict[str, Array]:
        """The initializers that give ``matrix``; without a bias its last column is lost."""
        alpha, beta = _factors(self.node)
        shape = shape_of(self.weight)
        weight = matrix[..., :-1] / alpha
        if self.node.op_type == "MatMul" or (self.node.op_type == "Gemm" and not attribute(self.node, "transB")):
            weight = weight.reshape(self.outputs, self.columns).T
        found = {self.weight.name or "": _rounded(weight.reshape(shape), self.weight)}
        if self.bias is not None:
            bias = (matrix[..., -1] / beta).reshape(shape_of(self.bias))
            found[self.bias.name or ""] = _rounded(bias, self.bias)
        return found


def _rounded(array: NDArray[np.float64], like: ir.Value) -> Array:
    """In the type of ``like``; what it cannot hold is its largest number."""
    assert like.dtype is not None
    kind = like.dtype.numpy()
    most = np.finfo(kind).max
    return np.ascontiguousarray(np.clip(array, -most, most), kind)


def layer_of(node: ir.Node) -> Layer | None:
    """The node as a layer; None for other ops, and where the weight or bias is not a plain constant of floats."""
    if not is_op(node, "Conv", "Gemm", "MatMul"):
        return None
    source, weight = input_of(node, 0), input_of(node, 1)
    if source is None or weight is None or source.is_initializer() or not _is_plain(weight):
        return None
    source_shape, shape = static_shape(source), static_shape(weight)
    if source_shape is None or shape is None or static_shape(node.outputs[0]) is None or source.dtype != weight.dtype:
        return None
    if node.op_type == "Conv":
        blocks = int(attribute(node, "group"))
        outputs, columns = shape[0] // blocks, int(np.prod(shape[1:]))
    else:
        if len(shape) != 2 or 0 in _factors(node) or (node.op_type == "Gemm" and attribute(node, "transA")):
            return None
        blocks, columns = 1, source_shape[-1]
        outputs = int(np.prod(shape)) // max(columns, 1)
    output, bias = _biased(node, blocks * outputs)
    if bias is not None and not _is_bias(bias, blocks * outputs):
        return None
    return Layer(node, source, weight, bias, output, blocks, outputs, columns)


def _biased(node: ir.Node, outputs: int) -> tuple[ir.Value, ir.Value | None]:
    output = node.outputs[0]
    if node.op_type != "MatMul":
        return output, input_of(node, 2)
    add = single_consumer(output)
    if add is not None and is_op(add, "Add"):
        other = add.inputs[1] if add.inputs[0] is output else add.inputs[0]
        if other is not None and _is_bias(other, outputs) and len(shape_of(other)) <= len(shape_of(output)):
            return add.outputs[0], other
    return output, None


def _factors(node: ir.Node) -> tuple[float, float]:
    return (attribute(node, "alpha"), attribute(node, "beta")) if node.op_type == "Gemm" else (1.0, 1.0)


def _is_bias(value: ir.Value, outputs: int) -> bool:
    shape = static_shape(value)
    return _is_plain(value) and shape is not None and len(shape) > 0 and shape[-1] == outputs == np.prod(shape)


def _is_plain(value: ir.Value) -> bool:
    return value.is_initializer() and not value.is_graph_input() and value.dtype in _FLOATS


def _array(value: ir.Value, weights: Weights) -> Array:
    found = weights.get(value.name or "")
    array = constant_value(value) if found is None else found
    assert array is not None
    return array
