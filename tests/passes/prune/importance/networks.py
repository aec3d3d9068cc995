"""Networks whose least important channels are known because they were made so."""

import numpy as np
import onnx_ir as ir

from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.importance.evidence import Evidence
from edgekit.passes.prune.network import Sample
from tests.passes.prune.networks import Builder


def chain(seed: int = 0) -> ir.Model:
    """Two hidden groups, of 8 and 6 channels: Conv, Relu, 3x3 Conv, Relu, Conv to 3, pooled scores of 4 classes."""
    build = Builder(1, 2, 6, 6, seed=seed)
    hidden = build.relu(build.conv("x", 8))
    hidden = build.relu(build.conv(hidden, 6, 3))
    return build.model(build.head(hidden, 4))


def samples(model: ir.Model, count: int = 5, seed: int = 1) -> list[Sample]:
    random = np.random.default_rng(seed)
    return [
        {
            value.name or "": random.normal(size=tuple(int(dim) for dim in value.shape)).astype(np.float32)
            for value in model.graph.inputs
            if value.shape is not None
        }
        for _ in range(count)
    ]


def evidence(model: ir.Model, *, data: bool = True, seed: int = 0) -> Evidence:
    return Evidence(model, find_channel_groups(model), samples(model) if data else None, seed=seed)


def scale(model: ir.Model, name: str, axis: int, index: int, factor: float) -> None:
    """Multiply one channel of an initializer."""
    value = model.graph.initializers[name]
    assert value.const_value is not None
    array = value.const_value.numpy().copy()
    array[(slice(None),) * axis + (index,)] *= factor
    value.const_value = ir.Tensor(array, name=name)


def equal_columns() -> ir.Model:
    """A hidden group of 8 channels whose weights are all the same."""
    build = Builder(1, 2, 4, 4)
    hidden = build.op("Conv", "x", build.constant(np.ones((8, 2, 1, 1), np.float32)))
    return build.model(build.op("Conv", build.relu(hidden), build.constant(np.ones((3, 8, 1, 1), np.float32))))
