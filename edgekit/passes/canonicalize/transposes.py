"""Transposes cancel, merge, and move to where the fewest are needed."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    attribute,
    constant_value,
    is_op,
    produced_by,
    shape_of,
    single_consumer,
)

Permutation = tuple[int, ...]


def permutation_of(transpose: ir.Node) -> Permutation:
    """The axes order of a Transpose node, the default (reversed) written out."""
    assert transpose.inputs[0] is not None
    given = attribute(transpose, "perm")
    return tuple(given) if given else tuple(range(len(shape_of(transpose.inputs[0]))))[::-1]


def compose(first: Permutation, then: Permutation) -> Permutation:
    """The permutation of a Transpose by ``first`` followed by one by ``then``."""
    return tuple(first[axis] for axis in then)


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that undoes ``permutation``."""
    return tuple(int(axis) for axis in np.argsort(permutation))


class MergeTransposes(RewritePass):
    """Two Transposes in a row are one, or none.

    Given:
        x -> Transpose(0,2,3,1) -> Transpose(0,3,1,2) -> y
    Result:
        x (as y)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the second one."""
        if not is_op(node, "Transpose"):
            return False
        before = produced_by(node.inputs[0], "Transpose")
        if before is None or before.inputs[0] is None:
            return False
        merged = compose(permutation_of(before), permutation_of(node))
        if merged == tuple(sorted(merged)):
            return editor.replace(node.outputs[0], before.inputs[0])
        editor.rewrite(node, "Transpose", [before.inputs[0]], {"perm": list(merged)})
        return True


class TransposeIntoGemm(RewritePass):
    """A flattened Transpose in front of a fully connected layer goes into the order of its weights.

    Given:
        x[1,C,H,W] -> Transpose(0,2,3,1) -> Reshape([1,HWC]) -> Gemm(., w[out,HWC])
    Result:
        x -> Reshape([1,CHW]) -> Gemm(., w'[out,CHW]), the columns of w reordered
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Gemm."""
        if not is_op(node, "Gemm") or attribute(node, "transB") != 1 or attribute(node, "transA") != 0:
            return False
        reshape = produced_by(node.inputs[0], "Reshape")
        transpose = produced_by(reshape.inputs[0], "Transpose") if reshape is not None else None
        weight = constant_value(node.inputs[1])
        if reshape is None or transpose is None or weight is None or single_consumer(reshape.outputs[0]) is not node:
            return False
        x, perm, shape = transpose.inputs[0], permutation_of(transpose), shape_of(transpose.outputs[0])
        if x is None or perm[0] != 0 or shape_of(reshape.outputs[0]) != (shape[0], int(np.prod(shape[1:]))):
            return False
        order = np.argsort(perm[1:])
        columns = weight.reshape(-1, *shape[1:]).transpose(0, *(int(axis) + 1 for axis in order))
        editor.with_constant(node, 1, columns.reshape(weight.shape))
        flat = editor.insert(node, "Reshape", [x, *reshape.inputs[1:]], reshape.attributes, like=reshape.outputs[0])
        editor.replace(reshape.outputs[0], flat, take_name=True)
        return True
