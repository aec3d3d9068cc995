"""Matrix products: FULLY_CONNECTED for constant weights, BATCH_MATMUL for two activations."""

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Array, Options, Tensor
from edgekit.exporters.tflite.ops.convolution import bias_tensor, has_int8_weights
from edgekit.exporters.tflite.ops.expressions import scalar
from edgekit.exporters.tflite.ops.registry import lowers
from edgekit.exporters.tflite.quantization import quantize_user
from edgekit.interface import Precision

_MAX_BATCH_RANK = 5


def _weights(lowering: Lowering, node: ir.Node, *, rows_are_outputs: bool, factor: float = 1.0) -> Tensor:
    """Input 1 as [outputs, inputs], its columns in the order in which a flattened activation arrives."""
    value = node.inputs[1]
    assert value is not None
    permutation = (0, 1) if rows_are_outputs else (1, 0)
    shuffle = lowering.shuffles.get(node.inputs[0]) if node.inputs[0] is not None else None
    if factor != 1:
        array = lowering.required(node, 1).transpose(permutation) * np.float32(factor)
        return lowering.real(value.name or "weights", array if shuffle is None else array[:, shuffle])
    order = None if shuffle is None else (1, shuffle)
    return lowering.weight(value, lowering.shape(value), permutation, hybrid=True, order=order)


def _options(lowering: Lowering, weights: Tensor, source: Tensor, *, keep: bool) -> Options:
    hybrid = weights.dtype == np.int8 and source.dtype == np.float32
    options: Options = {"keep_num_dims": keep}
    if hybrid and lowering.precision == Precision.INT8_DYNAMIC:
        options["asymmetric_quantize_inputs"] = True
    return options


def _int8_gemm(lowering: Lowering, node: ir.Node) -> bool:
    scaled = node.attributes.get_float("alpha", 1.0) != 1 or node.attributes.get_int("transA", 0) == 1
    bias = lowering.optional(node, 2)
    fits = bias is None or (lowering.is_constant(bias) and _vector(lowering, node) is not None)
    return has_int8_weights(lowering, node) and not scaled and fits


@lowers("Gemm", int8=_int8_gemm, fuses=True)
def gemm(lowering: Lowering, node: ir.Node) -> None:
    """FULLY_CONNECTED with bias; alpha and beta go into the constants. A computed B becomes BATCH_MATMUL."""
    if not lowering.is_constant(node.inputs[1]):
        _computed_gemm(lowering, node)
        return
    source = lowering.tensor(node.inputs[0], (1, 0) if node.attributes.get_int("transA", 0) else (0, 1))
    rows_are_outputs = bool(node.attributes.get_int("transB", 0))
    factor = node.attributes.get_float("alpha", 1.0)
    weights = _weights(lowering, node, rows_are_outputs=rows_are_outputs, factor=factor)
    result = Result(node.outputs[0], (0, 1))
    bias = _vector(lowering, node)
    if bias is not None or lowering.optional(node, 2) is None:
        vector = np.zeros(weights.shape[0], np.float32) if bias is None else bias
        operands = [source, weights, bias_tensor(lowering, node, vector, source, weights)]
        lowering.finish("FULLY_CONNECTED", operands, result, **_options(lowering, weights, source, keep=False))
        return
    shape = lowering.shape(node.outputs[0])
    product = lowering.emit(
        "FULLY_CONNECTED", [source, weights, None], shape, **_options(lowering, weights, source, keep=False)
    )
    lowering.finish("ADD", [product, _addend(lowering, node)], result)


def _vector(lowering: Lowering, node: ir.Node) -> Array | None:
    """beta * C when C is a constant that is the same for every row."""
    array = lowering.constant(lowering.optional(node, 2))
    if array is None:
        return None
    columns = lowering.shape(node.outputs[0])[1]
    if array.size not in (1, columns) or (array.ndim == 2 and array.shape[0] != 1):
        return None
    vector = np.broadcast_to(array.reshape(-1), (columns,))
    return vector.astype(np.float32) * np.float32(node.attributes.get_float("beta", 1.0))


def _addend(lowering: Lowering, node: ir.Node) -> Tensor:
    tensor = lowering.tensor(node.inputs[2])
    beta = node.attributes.get_float("beta", 1.0)
    return tensor if beta == 1 else lowering.emit("MUL", [tensor, scalar(beta, tensor)], tensor.shape)


def _computed_gemm(lowering: Lowering, node: ir.Node) -> None:
    left = lowering.tensor(node.inputs[0], (1, 0) if node.attributes.get_int("transA", 0) else (0, 1))
    right = lowering.tensor(node.inputs[1], (1, 0) if node.attributes.get_int("transB", 0) else (0, 1))
    shape = lowering.shape(node.outputs[0])
    result = Result(node.outputs[0], (0, 1))
    alpha = node.attributes.get_float("alpha", 1.0)
    if alpha != 1:
        left = lowering.emit("MUL", [left, scalar(alpha, left)], left.shape)
    if lowering.optional(node, 2) is None:
        lowering.finish("BATCH_MATMUL", [left, right], result, adj_x=False, adj_y=False)
        return
    product = lowering.emit("BATCH_MATMUL", [left, right], shape, adj_x=False, adj_y=False)
    lowering.finish("ADD", [product, _addend(lowering, node)], result)


def _is_dense(lowering: Lowering, node: ir.Node) -> bool:
    """Whether MatMul is a FULLY_CONNECTED: constant [inputs, outputs] weights behind an activation of any rank."""
    return lowering.is_constant(node.inputs[1]) and lowering.rank(node.inputs[1]) == 2


def _int8_matmul(lowering: Lowering, node: ir.Node) -> bool:
    if _is_dense(lowering, node):
        return has_int8_weights(lowering, node)
    return all(not lowering.is_constant(value) for value in node.inputs)


@lowers("MatMul", int8=_int8_matmul, fuses=True)
def matrix_product(lowering: Lowering, node: ir.Node) -> None:
    """FULLY_CONNECTED with constant weights (and the Add behind it as bias), else BATCH_MATMUL."""
    if _is_dense(lowering, node) and lowering.rank(node.inputs[0]) > 1:
        _dense(lowering, node)
    elif 1 in (lowering.rank(node.inputs[0]), lowering.rank(node.inputs[1])):
        _vector_product(lowering, node)
    else:
        _batch(lowering, node)


def _dense(lowering: Lowering, node: ir.Node) -> None:
    rank = lowering.rank(node.inputs[0])
    label = layout.with_last(lowering.label(node.inputs[0]), rank - 1)
    source = lowering.tensor(node.inputs[0], label)
    weights = _weights(lowering, node, rows_are_outputs=False)
    add = _following_bias(lowering, node, weights.shape[0])
    vector = np.zeros(weights.shape[0], np.float32)
    value = node.outputs[0]
    if add is not None:
        vector = add[1]
        value = add[0].outputs[0]
        lowering.done.add(add[0])
    bias = bias_tensor(lowering, node, vector, source, weights)
    options = _options(lowering, weights, source, keep=rank > 2)
    lowering.finish("FULLY_CONNECTED", [source, weights, bias], Result(value, label), **options)


def _following_bias(lowering: Lowering, node: ir.Node, outputs: int) -> tuple[ir.Node, Array] | None:
    """The Add of a constant vector that alone uses the product, when the product itself is not quantized."""
    value = node.outputs[0]
    uses = list(value.uses())
    if value.is_graph_output() or len(uses) != 1 or uses[0].node.op_type != "Add" or quantize_user(value) is not None:
        return None
    add = uses[0].node
    array = lowering.constant(add.inputs[1 - uses[0].idx])
    same = lowering.shape(add.outputs[0]) == lowering.shape(value)
    if array is None or not same or array.size != outputs or (array.ndim and array.shape[-1] != outputs):
        return None
    return add, array.reshape(-1)


def _vector_product(lowering: Lowering, node: ir.Node) -> None:
    """A 1-D operand is a row (left) or a column (right) whose dimension vanishes from the result (numpy.matmul)."""
    left, right = (lowering.tensor(value) for value in node.inputs)
    left = lowering.reshape(left, (1, *left.shape)) if len(left.shape) == 1 else left
    right = lowering.reshape(right, (*right.shape, 1)) if len(right.shape) == 1 else right
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    through = (*batch, left.shape[-2], right.shape[-1])
    label = layout.identity(lowering.rank(node.outputs[0]))
    result = Result(node.outputs[0], label, through=through)
    lowering.finish("BATCH_MATMUL", [left, right], result, adj_x=False, adj_y=False)


def _swapped(rank: int) -> Permutation:
    return (*range(rank - 2), rank - 1, rank - 2)


def _batch(lowering: Lowering, node: ir.Node) -> None:
    """BATCH_MATMUL; a right operand that lies transposed is read so by ``adj_y``."""
    rank = lowering.rank(node.inputs[1])
    adjoint = rank > 1 and lowering.label(node.inputs[1]) == _swapped(rank)
    left = lowering.tensor(node.inputs[0])
    right = lowering.tensor(node.inputs[1], _swapped(rank) if adjoint else None)
    if max(len(left.shape), rank) > _MAX_BATCH_RANK:
        left, right = _folded_batch(lowering, left), _folded_batch(lowering, right)
    label = layout.identity(lowering.rank(node.outputs[0]))
    columns = right.shape[-2] if adjoint else right.shape[-1]
    through = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], columns)
    result = Result(node.outputs[0], label, through=through)
    lowering.finish("BATCH_MATMUL", [left, right], result, adj_x=False, adj_y=adjoint)


def _folded_batch(lowering: Lowering, tensor: Tensor) -> Tensor:
    if len(tensor.shape) <= 2:
        raise UnsupportedError("a broadcast product of more than five dimensions")
    return lowering.reshape(tensor, (int(np.prod(tensor.shape[:-2])), *tensor.shape[-2:]))


@lowers("Einsum")
def einsum(lowering: Lowering, node: ir.Node) -> None:
    """Two operands as one BATCH_MATMUL: axes are sorted into batch, rows, contracted and columns by relabelling."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    left, _, output = equation.partition("->")
    terms = left.split(",")
    plain = "." not in equation and output and all(len(set(term)) == len(term) for term in terms)
    if len(terms) != 2 or not plain:
        raise UnsupportedError(
            f"equation {equation!r}; two operands with explicit output and no repeated axes expected"
        )
    x, y = terms
    if set(x) - set(y) - set(output) or set(y) - set(x) - set(output):
        raise UnsupportedError(f"equation {equation!r} sums an axis of one operand only; reduce it before")
    _contract(lowering, node, (x, y, output))


def _contract(lowering: Lowering, node: ir.Node, terms: tuple[str, str, str]) -> None:
    x, y, output = terms
    sizes = dict(zip(x + y, lowering.shape(node.inputs[0]) + lowering.shape(node.inputs[1]), strict=True))
    batch = [a for a in output if a in x and a in y]
    rows = [a for a in output if a in x and a not in y]
    columns = [a for a in output if a in y and a not in x]
    inner = [a for a in x if a in y and a not in output]

    def area(axes: list[str]) -> int:
        return int(np.prod([sizes[a] for a in axes], dtype=np.int64))

    def operand(index: int, term: str, order: list[str], shape: tuple[int, ...]) -> Tensor:
        tensor = lowering.tensor(node.inputs[index], tuple(term.index(a) for a in order))
        return lowering.reshape(tensor, shape)

    left = operand(0, x, batch + rows + inner, (area(batch), area(rows), area(inner)))
    right = operand(1, y, batch + inner + columns, (area(batch), area(inner), area(columns)))
    through = (area(batch), area(rows), area(columns))
    label = tuple(output.index(a) for a in batch + rows + columns)
    result = Result(node.outputs[0], label, through=through)
    lowering.finish("BATCH_MATMUL", [left, right], result, adj_x=False, adj_y=False)
