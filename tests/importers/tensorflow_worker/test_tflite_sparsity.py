"""Sparse constants, encoded here level by level as TACO does, come back dense."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgekit.importers.tensorflow_worker.tflite_sparsity import densified

FLOAT32 = 0


def dense_level(size: int) -> SimpleNamespace:
    return SimpleNamespace(denseSize=size, arraySegments=None, arrayIndices=None)


def compressed_level(segments: list[int], indices: list[int]) -> SimpleNamespace:
    return SimpleNamespace(
        denseSize=0, arraySegments=SimpleNamespace(values=segments), arrayIndices=SimpleNamespace(values=indices)
    )


def encoded(values: np.ndarray, order: list[int], compressed: set[int]) -> tuple[list[SimpleNamespace], np.ndarray]:
    """The levels of ``values`` in traversal ``order``, those of ``compressed`` dimensions as CSR; the stored values."""
    values = values.transpose(order)
    prefixes: list[tuple[int, ...]] = [()]
    levels = []
    for level, size in enumerate(values.shape):
        if order[level] not in compressed:
            levels.append(dense_level(size))
            prefixes = [(*prefix, index) for prefix in prefixes for index in range(size)]
            continue
        found = [[(*p, index) for index in range(size) if values[(*p, index)].any()] for p in prefixes]
        segments = [0, *np.cumsum([len(each) for each in found]).tolist()]
        prefixes = [prefix for each in found for prefix in each]
        levels.append(compressed_level(segments, [prefix[-1] for prefix in prefixes]))
    return levels, np.array([values[prefix] for prefix in prefixes], np.float32)


@given(st.data())
def test_any_order_blocks_and_levels(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    blocked = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True))
    blocks = [data.draw(st.integers(1, 3)) for _ in blocked]
    whole = [size * (blocks[blocked.index(axis)] if axis in blocked else 1) for axis, size in enumerate(shape)]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    wanted = (rng.normal(size=whole) * (rng.random(whole) > 0.7)).astype(np.float32)
    # The tensor's dimensions, then those of the blocks: [a / 2, 2, b] -> [a / 2, b, 2].
    split = wanted.reshape([s for axis, n in enumerate(shape) for s in (n, whole[axis] // n)])
    axes = [2 * axis for axis in range(len(shape))] + [2 * axis + 1 for axis in blocked]
    blocky = split.transpose([*axes, *(set(range(split.ndim)) - set(axes))]).reshape(*shape, *blocks)
    outer = data.draw(st.permutations(range(len(shape))))
    inner = data.draw(st.permutations(range(len(shape), blocky.ndim)))
    order = [*outer, *inner]
    levels, stored = encoded(blocky, order, data.draw(st.sets(st.sampled_from(range(len(shape))))))
    sparsity = SimpleNamespace(traversalOrder=order, blockMap=blocked, dimMetadata=levels)
    tensor = SimpleNamespace(shape=whole, type=FLOAT32, sparsity=sparsity)
    found = densified(tensor, stored.view(np.uint8))
    assert np.array_equal(found.view(np.float32).reshape(whole), wanted)


def test_half_floats_without_blocks() -> None:
    wanted = np.array([[0, 2, 0], [0, 0, 0], [4, 0, 8]], np.float16)
    levels, stored = encoded(wanted, [0, 1], {1})
    sparsity = SimpleNamespace(traversalOrder=[0, 1], blockMap=None, dimMetadata=levels)
    tensor = SimpleNamespace(shape=[3, 3], type=1, sparsity=sparsity)
    found = densified(tensor, stored.astype(np.float16).view(np.uint8))
    assert np.array_equal(found.view(np.float16).reshape(3, 3), wanted)
