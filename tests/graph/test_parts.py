"""What an output was joined of."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.parts import MOST_PARTS, find_parts, usual_square
from edgekit.graph.queries import produced_by
from edgekit.passes.prune.network import activations
from tests.passes.prune.networks import Builder


def detector() -> ir.Model:
    """Two levels of boxes and scores, (1, places, 4 + 5), with a constant column."""
    build = Builder(1, 3, 8, 8)
    levels = []
    for level in (build.conv("x", 8), build.conv("x", 8, stride=2)):
        boxes, scores = build.conv(level, 4, 1), build.op("Sigmoid", build.conv(level, 5, 1))
        joined = build.op("Concat", boxes, scores, axis=1)
        flat = build.reshape(joined, 1, 9, -1)
        levels.append(build.op("Transpose", flat, perm=[0, 2, 1]))
    joined = build.op("Concat", *levels, axis=-2)
    return build.model(build.op("Concat", joined, build.normal(1, 80, 1), axis=2))


def test_parts_are_where_their_values_are() -> None:
    model = detector()
    (output,) = model.graph.outputs
    parts = find_parts(output)
    assert [produced_by(part.value, "Conv", "Sigmoid") is not None for part in parts] == [True] * 4
    names = [output.name or "", *(part.value.name or "" for part in parts)]
    sample = {"x": np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)}
    ((whole, *values),) = activations(model, names, [sample])
    for part, value in zip(parts, values, strict=True):
        assert np.array_equal(whole.reshape(-1)[part.places], value.reshape(-1))
    assert len(np.unique(np.concatenate([part.places for part in parts]))) == whole.size - 80


def test_what_is_not_joined_is_one_part() -> None:
    build = Builder(1, 3, 8, 8)
    model = build.model(build.reshape(build.conv("x", 4), 1, -1))
    (part,) = find_parts(model.graph.outputs[0])
    assert part.value is model.graph.outputs[0]
    assert part.places is None


def test_a_sequence_of_many_steps_is_one_part() -> None:
    build = Builder(1, 3, 8, 8)
    steps = [build.conv("x", 2) for _ in range(MOST_PARTS + 1)]
    for count, expected in ((MOST_PARTS, MOST_PARTS), (MOST_PARTS + 1, 1)):
        model = build.model(build.op("Concat", *steps[:count], axis=1))
        assert len(find_parts(model.graph.outputs[0])) == expected


def test_a_part_is_found_among_any_number_where_all_are_asked_for() -> None:
    build = Builder(1, 3, 8, 8)
    model = build.model(build.op("Concat", *(build.conv("x", 2) for _ in range(MOST_PARTS + 2)), axis=1))
    assert len(find_parts(model.graph.outputs[0], most=None)) == MOST_PARTS + 2


@pytest.mark.parametrize(
    ("variance", "mean_square", "expected"), [(2.0, 3.0, 2.0), (0.0, 4.0, 4.0), (1e-15, 1.0, 1.0), (0.0, 0.0, 1.0)]
)
def test_what_hardly_varies_is_a_constant(variance: float, mean_square: float, expected: float) -> None:
    assert usual_square(variance, mean_square) == pytest.approx(expected)
