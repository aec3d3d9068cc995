"""What a network costs: parameters, multiply-accumulates (MACs) and ops.

One MAC is one multiplication whose product is added into a sum: an inner product of length K is K MACs. Counted are
Conv, ConvTranspose, Gemm, MatMul and the recurrent LSTM, GRU and RNN, for the graph's static shapes (batch included),
padding elements as if they were data. Biases, BatchNorm, activations, poolings and elementwise ops count nothing, as in
the papers' tables. FLOPs are about 2 x MACs.
"""

import math
from collections import Counter

import onnx_ir as ir

from edgekit.graph.queries import attribute, is_op, shape_of

_RECURRENT = ("LSTM", "GRU", "RNN")
_INTEGER_WEIGHTS = (ir.DataType.INT4, ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32)


def count_parameters(model: ir.Model) -> int:
    """The elements of all constants that are weights or tables: no shapes, no axes, no scalars."""
    tensors = {
        value: tensor
        for node in model.graph.all_nodes()
        for value in node.inputs
        if value is not None and (tensor := ir.convenience.get_const_tensor(value)) is not None and is_parameter(tensor)
    }
    return sum(math.prod(tensor.shape.numpy()) for tensor in tensors.values())


def is_parameter(tensor: ir.TensorProtocol) -> bool:
    """Whether ``count_parameters`` counts a constant."""
    return len(tensor.shape) > 0 and (tensor.dtype.is_floating_point() or tensor.dtype in _INTEGER_WEIGHTS)


def count_macs(model: ir.Model) -> int:
    """The multiply-accumulates of one run of the graph; raises ``ModelError`` where a shape is not static."""
    return sum(node_macs(node) for node in model.graph.all_nodes())


def node_macs(node: ir.Node) -> int:
    """The multiply-accumulates of one node (0 for everything that is no inner product)."""
    if is_op(node, "Conv"):
        # Each output element sums over in_channels / group * kernel elements: the weight without its first axis.
        return _elements(node.outputs[0]) * math.prod(_shape(node, 1)[1:])
    if is_op(node, "ConvTranspose"):
        # Each input element is multiplied into out_channels / group * kernel elements.
        return math.prod(_shape(node, 0)) * math.prod(_shape(node, 1)[1:])
    if is_op(node, "Gemm"):
        return _elements(node.outputs[0]) * _shape(node, 0)[0 if attribute(node, "transA") else 1]
    if is_op(node, "MatMul"):
        return _elements(node.outputs[0]) * _shape(node, 0)[-1]
    if is_op(node, *_RECURRENT):
        steps, batch = _shape(node, 0)[:2] if not attribute(node, "layout") else _shape(node, 0)[1::-1]
        return steps * batch * (math.prod(_shape(node, 1)) + math.prod(_shape(node, 2)))
    return 0


def op_counts(model: ir.Model) -> dict[str, int]:
    """How often each op occurs (subgraphs included), most frequent first, then by name."""
    counts = Counter(node.op_type for node in model.graph.all_nodes())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _shape(node: ir.Node, index: int) -> tuple[int, ...]:
    value = node.inputs[index]
    assert value is not None
    return shape_of(value)


def _elements(value: ir.Value) -> int:
    return math.prod(shape_of(value))
