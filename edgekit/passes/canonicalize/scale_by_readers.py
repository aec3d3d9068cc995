"""Channels that Concats join are scaled as their readers scale them anyway: then one int8 scale suits all of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import attribute, constant_value, input_of, is_op, shape_of
from edgekit.passes.canonicalize.fold_batch_norm import (
    Array,
    affine,
    has_constant_weights,
    per_channel,
    scale_layer,
)

_KEEPS_SCALE = (
    "Relu",
    "LeakyRelu",
    "PRelu",
    "MaxPool",
    "AveragePool",
    "GlobalMaxPool",
    "GlobalAveragePool",
    "Identity",
)
"""f(a x) = a f(x) for a > 0, channel by channel."""

_EQUAL = 4.0
"""A reader that amplifies a channel this much less than another counts as if it did: it may ignore the channel."""

_LEAST = 1e-6
"""Of the largest multiplier: channels that all readers read with less are dead, and stay as they are."""

_WORTH = 1.05
"""A layer none of whose channels would change by this factor stays as it is."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """A Mul by ``multiplier`` [channels of its input], of which the layer's begin at ``first``."""

    node: ir.Node
    multiplier: Array
    first: int

    def part(self, channels: int) -> Array:
        return self.multiplier[self.first : self.first + channels]


class ScaleByReaders(RewritePass):
    """What several per-channel Muls read, each for itself, takes their mean scale into the layer that makes it.

    Given:
        Conv(x, w, b) -> Concat(., y) -> Mul(., m), and -> Concat(., z) -> Mul(., n)
    Result:
        Conv(x, f w, f b) -> Concat(., y) -> Mul(., m / f), and -> Concat(., z) -> Mul(., n / f), f = sqrt(m n)

    The network computes the same. A DenseNet normalizes behind its Concats, which join channels of very different
    ranges: with one scale per tensor the small ones have few codes left (Nagel et al. 2019, "Data-Free Quantization
    Through Weight Equalization and Bias Correction", arXiv:1906.04721, section 4.1, equalizes ranges in the same way).
    No reader has to amplify by more than _EQUAL what was made small for others.
    Not where anything else reads the channels.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the layer."""
        if not is_op(node, "Conv", "ConvTranspose", "Gemm") or not has_constant_weights(node) or _shares_weights(node):
            return False
        channels = shape_of(node.outputs[0])[1]
        readers = list(_readers(node.outputs[0], 0))
        muls = [reader for reader in readers if reader is not None]
        if not muls or len(muls) < len(readers):
            return False
        factors = _scale([reader.part(channels) for reader in muls])
        if not (np.maximum(factors, 1 / factors) > _WORTH).any():
            return False
        if not scale_layer(node, factors, np.zeros(channels), editor):
            return False
        by_node = {reader.node: reader.multiplier.copy() for reader in muls}  # a Concat may join the same twice
        for reader in muls:
            by_node[reader.node][reader.first : reader.first + channels] /= factors
        for reader_node, multiplier in by_node.items():
            _write(reader_node, multiplier, editor)
        return True


def _shares_weights(layer: ir.Node) -> bool:
    return any(value is not None and len(value.uses()) > 1 for value in (layer.inputs[1], input_of(layer, 2)))


def _readers(value: ir.Value, first: int) -> Iterator[_Reader | None]:
    """Who reads ``value``, whose channels of interest begin at ``first``; None for who would read something else."""
    if value.is_graph_output():
        yield None
    for node, index in value.uses():
        if is_op(node, "Concat") and attribute(node, "axis") == 1:
            before = sum(shape_of(each)[1] for each in node.inputs[:index] if each is not None)
            yield from _readers(node.outputs[0], first + before)
        elif is_op(node, *_KEEPS_SCALE) and index == 0 and len(node.outputs) == 1:
            yield from _readers(node.outputs[0], first)
        else:
            yield _mul(node, value, first)


def _mul(node: ir.Node, value: ir.Value, first: int) -> _Reader | None:
    form = affine(node) if is_op(node, "Mul") else None
    if form is None or form.x is not value:
        return None
    multiplier = per_channel(form.multiplier, shape_of(value)[1], 1)
    return None if multiplier is None else _Reader(node, np.array(multiplier), first)


def _scale(multipliers: list[Array]) -> Array:
    """[channels], the geometric mean over the readers; 1 for dead channels. That of what it leaves is 1."""
    magnitudes = np.abs(multipliers)
    largest = magnitudes.max(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.exp(np.log(np.maximum(magnitudes, largest / _EQUAL)).mean(axis=0))
    return np.where(np.isfinite(mean) & (largest > _LEAST * largest.max()), mean, 1.0)


def _write(node: ir.Node, multiplier: Array, editor: GraphEditor) -> None:
    (index,) = (index for index, value in enumerate(node.inputs) if constant_value(value) is not None)
    rank = len(shape_of(node.outputs[0]))
    assert node.outputs[0].dtype is not None
    array = multiplier.astype(node.outputs[0].dtype.numpy()).reshape(1, -1, *[1] * (rank - 2))
    editor.with_constant(node, index, array)
