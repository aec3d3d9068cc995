"""Sparse constants of TFLite files (the schema's ``SparsityParameters``) as dense arrays."""

from typing import Any

import numpy as np

_BYTES = {0: 4, 1: 2, 9: 1}
"""Of one element of the types that LiteRT can densify: FLOAT32, FLOAT16, INT8."""


def densified(tensor: Any, data: Any) -> np.ndarray:
    """The elements of a sparse constant in their dense order, as bytes [elements, bytes of one]; zeros where none is.

    ``tensor`` is a ``TensorT`` with ``sparsity``, ``data`` its buffer. The format is that of TACO (Chou et al. 2018,
    "Format abstraction for sparse tensor algebra compilers"): one level per dimension in traversal order, dense or
    compressed (CSR), where block dimensions follow those of the tensor.
    """
    sparsity = tensor.sparsity
    shape = [int(size) for size in tensor.shape]
    order = [int(dimension) for dimension in sparsity.traversalOrder]
    block_map = [] if sparsity.blockMap is None else [int(dimension) for dimension in sparsity.blockMap]
    coordinates = _coordinates(sparsity.dimMetadata)
    indices = [np.zeros(len(coordinates[0]), np.int64) for _ in shape]
    for dimension, found in zip(order, coordinates, strict=True):
        if dimension < len(shape):
            indices[dimension] += found * _block_size(dimension, order, block_map, sparsity.dimMetadata, len(shape))
        else:
            indices[block_map[dimension - len(shape)]] += found
    width = _BYTES[tensor.type]
    dense = np.zeros((int(np.prod(shape)), width), np.uint8)
    dense[np.ravel_multi_index(indices, shape)] = np.asarray(data, np.uint8).reshape(-1, width)
    return dense


def _coordinates(levels: Any) -> list[np.ndarray]:
    """Of every stored element its coordinate at each level, in the order of storage."""
    found: list[np.ndarray] = []
    count = 1
    for level in levels:
        if level.arraySegments is None:
            repeats = np.full(count, level.denseSize)
            own = np.tile(np.arange(level.denseSize), count)
        else:
            repeats = np.diff(np.asarray(level.arraySegments.values, np.int64))
            own = np.asarray(level.arrayIndices.values, np.int64)
        found = [np.repeat(each, repeats) for each in found] + [own]
        count = len(own)
    return found


def _block_size(dimension: int, order: list[int], block_map: list[int], levels: Any, rank: int) -> int:
    if dimension not in block_map:
        return 1
    return int(levels[order.index(rank + block_map.index(dimension))].denseSize)
