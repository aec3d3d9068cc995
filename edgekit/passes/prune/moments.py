"""Second moments of what a weight multiplies: the sums of a aᵀ of its input, and of a tᵀ with what it should give.

For a Conv a row is an im2col patch, for a Gemm or MatMul a row of its input; a 1 for the bias comes last. Totals are
float64; they are summed from float32 products of some thousand rows.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.patches import PatchSampler, sampler_of
from edgekit.graph.queries import shape_of
from edgekit.passes.prune.layers import Layer, layer_of
from edgekit.passes.prune.network import Array, Weights

MOST_COLUMNS = 4608
"""Wider inputs have no second moments here: the matrix would take 170 MB and minutes to factor."""

_CHUNK_BYTES = 1 << 24
_CHUNK_ROWS = 4096


def supports_moments(node: ir.Node) -> bool:
    """Whether ``InputMoments.of`` takes the node: a Conv, Gemm or MatMul whose second input is its constant weight.

    Not: a ConvTranspose, a Gemm of a transposed input, a constant on the left, an odd bias, more than `MOST_COLUMNS`.
    """
    layer = layer_of(node)
    return layer is not None and layer.columns <= MOST_COLUMNS


def is_shared(node: ir.Node) -> bool:
    """Whether other nodes read the node's weight or bias too: then neither can be re-fitted for this node."""
    return _layer(node).shares


def weight_matrix(node: ir.Node, weights: Weights | None = None) -> NDArray[np.float64]:
    """The weight and bias of a node as [blocks, outputs per block, columns + 1]: output = matrix @ row.

    ``weights`` that are missing are the model's own. A MatMul's bias is that of the Add behind it; where there is none
    the last column is 0.
    """
    return _layer(node).matrix(weights or {})


def weights_of_matrix(node: ir.Node, matrix: NDArray[np.float64]) -> dict[str, Array]:
    """The way back: the node's weight and bias initializers by name.

    A node without a bias loses the last column; its moments are such that no solution needs one.
    """
    return _layer(node).weights(matrix)


@dataclass(slots=True)
class InputMoments:
    """Running sums for one weight; ``of`` makes them.

    Without a bias the 1 is left out of all sums but its own square: no solution then puts anything in its column.
    """

    layer: Layer
    samplers: tuple[PatchSampler, ...]
    rows: int
    _gram: NDArray[np.float64]
    _cross: NDArray[np.float64] | None
    _squares: NDArray[np.float64]
    _pending: list[tuple[Array, Array | None]] = field(default_factory=list)

    @classmethod
    def of(cls, node: ir.Node, *, targets: bool = False, most_rows: int | None = None) -> "InputMoments":
        """Empty sums for a node that ``supports_moments``.

        ``most_rows``: output positions read of each image, the same ones of all, spread evenly; None: all.
        """
        layer = _layer(node)
        width = layer.columns + 1
        cross = np.zeros((layer.blocks, width, layer.outputs)) if targets else None
        squares = np.zeros((layer.blocks, layer.outputs))
        return cls(layer, _samplers(layer, most_rows), 0, np.zeros((layer.blocks, width, width)), cross, squares)

    @property
    def gram(self) -> NDArray[np.float64]:
        """[blocks, columns + 1, columns + 1]: blocks are a grouped convolution's, of a depthwise one its channels.

        Columns are (input channels per block) x (kernel), channel by channel, then the 1.
        """
        self._flush()
        return self._gram

    @property
    def cross(self) -> NDArray[np.float64] | None:
        """[blocks, columns + 1, outputs per block], where targets are wanted."""
        self._flush()
        return self._cross

    @property
    def squares(self) -> NDArray[np.float64]:
        """[blocks, outputs per block]: the sums of t², 0 without targets."""
        self._flush()
        return self._squares

    def update(self, source: Array, target: Array | None = None) -> None:
        """Add one sample: the node's input and, where wanted, what its output should be (bias included)."""
        layer = self.layer
        # Sums of products leave float16's range soon.
        source = np.asarray(source, np.float32)
        target = None if target is None else np.asarray(target, np.float32)
        if layer.node.op_type == "Conv":
            for index in range(source.shape[0]):
                wanted = None if target is None else target[index].reshape(layer.blocks, layer.outputs, -1)
                self._add(source[index : index + 1], wanted)
        else:
            self._add(source, None if target is None else target.reshape(-1, layer.outputs).T[None])

    def plus(self, other: "InputMoments") -> "InputMoments":
        """The moments of both sets of samples together; ``other`` is of the same node."""
        cross = None if self.cross is None or other.cross is None else self.cross + other.cross
        rows, gram, squares = self.rows + other.rows, self.gram + other.gram, self.squares + other.squares
        return InputMoments(self.layer, self.samplers, rows, gram, cross, squares)

    def _add(self, source: Array, target: Array | None) -> None:
        """``target``: [blocks, outputs per block, positions]."""
        assert (target is None) == (self._cross is None)
        for sampler in self.samplers:
            rows = sampler.rows(source)
            aims = None if target is None else np.ascontiguousarray(target[..., sampler.positions])
            self._pending.append((rows, aims))
            self.rows += rows.shape[1]
            if sum(waiting.shape[1] for waiting, _ in self._pending) >= _chunk_rows(self.layer):
                self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = np.concatenate([rows for rows, _ in self._pending], axis=1)
        aims = [aims for _, aims in self._pending if aims is not None]
        self._pending = []
        self._gram[:, :-1, :-1] += rows.transpose(0, 2, 1) @ rows
        self._gram[:, -1, -1] += rows.shape[1]
        if self.layer.bias is not None:
            total = rows.sum(axis=1, dtype=np.float64)
            self._gram[:, -1, :-1] += total
            self._gram[:, :-1, -1] += total
        if aims:
            self._add_targets(rows, np.concatenate(aims, axis=2))

    def _add_targets(self, rows: Array, aims: Array) -> None:
        assert self._cross is not None
        self._cross[:, :-1] += (aims @ rows).transpose(0, 2, 1)
        if self.layer.bias is not None:
            self._cross[:, -1] += aims.sum(axis=2, dtype=np.float64)
        self._squares += np.square(aims, dtype=np.float64).sum(axis=2)


def _layer(node: ir.Node) -> Layer:
    layer = layer_of(node)
    assert layer is not None, f"{node.op_type} node {node.name!r} has no moments; ask supports_moments first"
    return layer


def _chunk_rows(layer: Layer) -> int:
    return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // (4 * layer.blocks * (layer.columns + layer.outputs))))


def _samplers(layer: Layer, most_rows: int | None) -> tuple[PatchSampler, ...]:
    """One for each chunk of output positions of one image, or of one set of matrix rows."""
    shape = shape_of(layer.node.outputs[0])
    count = int(np.prod(shape[2:] if layer.node.op_type == "Conv" else shape[:-1]))
    whole = sampler_of(layer.node, count if most_rows is None else most_rows)
    step = _chunk_rows(layer)
    return tuple(
        replace(
            whole,
            positions=whole.positions[start : start + step],
            taps=whole.taps[start : start + step],
            inside=None if whole.inside is None else whole.inside[start : start + step],
        )
        for start in range(0, len(whole.positions), step)
    )
