"""Chains of Mul, Add, Sub and Div by constants become at most one Mul and one Add."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import is_op, single_consumer
from edgekit.passes.canonicalize.fold_batch_norm import Affine, Array, affine


class MergeAffine(RewritePass):
    """Scaling first, then shifting; each once.

    Given:
        x -> Sub(., c) -> Div(., d) -> Mul(., e)
    Result:
        x -> Mul(., e/d) -> Add(., -c e/d)

    Sub and Div by a constant also become Add and Mul on their own: int8 kernels exist for those only. Constants keep
    their smallest broadcast shape. Nothing changes where a result would not be finite.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the last of the chain."""
        last = affine(node)
        if last is None:
            return False
        first_node = last.x.producer()
        first = affine(first_node) if first_node is not None and single_consumer(last.x) is node else None
        if first is None or first_node is None:
            # Subtracting from a constant would take two nodes; it stays.
            return is_op(node, "Sub", "Div") and last.x is node.inputs[0] and _emit(node, last, editor)
        if is_op(first_node, "Mul") and is_op(node, "Add"):
            return False
        with np.errstate(all="ignore"):
            merged = Affine(first.x, first.multiplier * last.multiplier, first.addend * last.multiplier + last.addend)
        return _emit(node, merged, editor)


def _emit(node: ir.Node, form: Affine, editor: GraphEditor) -> bool:
    """Writes the map as Mul and Add before ``node`` and puts it in ``node``'s place."""
    output = node.outputs[0]
    assert output.dtype is not None
    with np.errstate(over="ignore"):
        multiplier = _smallest(form.multiplier).astype(output.dtype.numpy())
        addend = _smallest(form.addend).astype(output.dtype.numpy())
    if not (np.isfinite(multiplier).all() and np.isfinite(addend).all()):
        return False
    value = form.x
    if (multiplier != 1).any():
        value = editor.insert(node, "Mul", [value, editor.constant(multiplier, f"{output.name}/scale")], like=output)
    if addend.any():
        value = editor.insert(node, "Add", [value, editor.constant(addend, f"{output.name}/shift")], like=output)
    return editor.replace(output, value, take_name=value is not form.x)


def _smallest(array: Array) -> Array:
    """The constant without the repetition along its axes; a scalar when all its elements are the same."""
    for axis in range(array.ndim):
        first = array.take([0], axis=axis)
        if array.shape[axis] > 1 and (array == first).all():
            array = first
    return array.reshape(()) if array.size == 1 else array
