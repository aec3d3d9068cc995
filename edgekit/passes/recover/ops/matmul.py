"""Inner products: Gemm, MatMul, Einsum."""

from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes

_SAMPLES = "Z"


@computes("Gemm")
def gemm(op: Operation) -> Activation:
    """alpha * A B + beta * C, with A [rows, k] of each sample."""
    tf = op.tf
    a, b = op.operand(0).plain, op.operand(1).plain
    if op.attribute("transA"):
        a = tf.transpose(a, [0, 2, 1])
    y = _product(op, a, tf.transpose(b, [0, 2, 1]) if op.attribute("transB") else b)
    alpha, beta = op.attribute("alpha"), op.attribute("beta")
    y = y if alpha == 1 else alpha * y
    if op.given(2):
        c = op.operand(2)
        c = tf.reshape(c.plain, [-1, *(1,) * (2 - len(c.shape)), *c.shape])
        y = y + (c if beta == 1 else beta * c)
    return op.plain(y)


@computes("MatMul")
def matmul(op: Operation) -> Activation:
    """The product over the last axis of A and the one before last of B; the axes before them broadcast."""
    a, b = op.operand(0), op.operand(1)
    left = a.plain if len(a.shape) > 1 else a.plain[:, None, :]
    right = b.plain if len(b.shape) > 1 else b.plain[:, :, None]
    return op.reshaped(_product(op, left, right))


def _product(op: Operation, left: Tensor, right: Tensor) -> Tensor:
    """Of [samples, ..., rows, k] and [samples, ..., k, columns]."""
    tf = op.tf
    if not op.operand(1).batched and len(right.shape) == 3:
        return tf.tensordot(left, right[0], [[len(left.shape) - 1], [0]])
    rank = max(len(left.shape), len(right.shape))
    aligned = [
        tf.reshape(x, [-1, *(1,) * (rank - len(x.shape)), *x.shape[1:]]) if len(x.shape) < rank else x
        for x in (left, right)
    ]
    return tf.matmul(*aligned)


@computes("Einsum")
def einsum(op: Operation) -> Activation:
    """tf.einsum with an axis of samples."""
    equation = op.attribute("equation").replace(" ", "")
    if "->" not in equation or "." in equation or _SAMPLES in equation:
        raise op.unsupported(f"equation {equation!r}; expected one with '->', without '...' and {_SAMPLES}")
    terms, result = equation.split("->")
    operands = [op.operand(index) for index in range(len(op.inputs))]
    named = [
        f"{_SAMPLES}{term}" if value.batched else term for term, value in zip(terms.split(","), operands, strict=True)
    ]
    tensors = [value.plain if value.batched else value.plain[0] for value in operands]
    return op.plain(op.tf.einsum(f"{','.join(named)}->{_SAMPLES}{result}", *tensors))
