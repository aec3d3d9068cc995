"""Real architectures with random weights, a fifth of whose work is removed at random.

    python -m tests.passes.prune.zoo MobileNetV2     (or light_squeezenet)

prints one line of JSON with what ``measure`` found.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from edgekit.graph.cost import count_macs, count_parameters
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.branches import drop_branches, find_branches
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import ChannelGroups, find_channel_groups
from edgekit.passes.prune.removal import remove, zero
from tests.passes.prune.networks import Array, difference, kept_counts, run

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
SHARE = 0.2
SLACK = 0.03
SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71, "ConvNeXt": 64}
"""Pixels, by the beginning of the name; the others accept 32. tf2onnx fails on a ConvNeXt whose maps end as 1 x 1."""


@dataclass(frozen=True)
class Measured:
    """``macs_removed`` is a share; ``costs_agree``: those of the cost model and of the built graph.

    ``error`` is that of the smaller graph against zeros, ``change`` that of zeros against the whole network, both
    relative to the largest output.
    """

    nodes: int
    groups: int
    branches: int
    whole: int
    macs_removed: float
    error: float
    change: float
    costs_agree: bool


def measure(model: ir.Model, *, seed: int = 0) -> Measured:
    """Remove units at random until a fifth of the canonical model's MACs is gone; and drop a branch, for its cost."""
    groups = find_channel_groups(model)
    branches = find_branches(model, groups)
    cost = CostModel(model, groups, branches)
    goes = choose_by_cost(groups, cost, np.random.default_rng(seed))
    smaller, kept = remove(model, groups, goes), kept_counts(groups, goes)
    agree = (cost.macs(kept), cost.parameters(kept)) == (count_macs(smaller), count_parameters(smaller))
    for branch in branches[:1]:
        without = remove(drop_branches(model, [branch]), groups, goes)
        costs = cost.macs(kept, [branch.name]), cost.parameters(kept, [branch.name])
        agree = agree and costs == (count_macs(without), count_parameters(without))
    zeroed = run(zero(model, groups, goes))
    return Measured(
        nodes=len(model.graph),
        groups=len(groups.groups),
        branches=len(branches),
        whole=len(groups.whole),
        macs_removed=1 - count_macs(smaller) / count_macs(model),
        error=difference(zeroed, run(smaller)),
        change=difference(run(model), zeroed),
        costs_agree=agree,
    )


def choose_by_cost(groups: ChannelGroups, cost: CostModel, rng: np.random.Generator) -> Array:
    """[unit_count] of bool: units at random until SHARE of the MACs is gone; one of each group stays.

    A unit that would take too much at once (half of a stream whose grouped convolutions are tied to each other) stays.
    """
    removed = np.zeros(groups.unit_count, dtype=bool)
    kept, whole = kept_counts(groups, removed), cost.macs({})
    candidates = [(group, unit) for group in groups.groups for unit in rng.permutation(group.units)[1:]]
    for index in rng.permutation(len(candidates)):
        group, unit = candidates[index]
        share = 1 - cost.macs(kept | {group.name: kept[group.name] - 1}) / whole
        if share <= SHARE + SLACK:
            kept[group.name] -= 1
            removed[unit] = True
        if SHARE <= share <= SHARE + SLACK:
            break
    return removed


def light_model(name: str) -> ir.Model:
    """A network of the onnx package, whose weights are made up when it runs, with random weights instead."""
    proto = onnx.load(LIGHT / f"{name}.onnx")
    rng = np.random.default_rng(0)
    shapes = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    made = {node.output[0]: shapes[node.input[0]] for node in proto.graph.node if node.op_type == "ConstantOfShape"}
    seen = dict(_roles(proto.graph, made))
    arrays = {name: _random(rng, tuple(shape), seen.get(name, "shift")) for name, shape in made.items()}
    # Up to the logits: a Softmax of large numbers hides what changes.
    proto.graph.output[0].name = _logits(proto.graph)
    nodes = [node for node in proto.graph.node if node.op_type not in ("ConstantOfShape", "Softmax")]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.onnx")
        path.write_bytes(proto.SerializeToString())
        return canonicalize(import_model(path).model)


def _logits(graph: onnx.GraphProto) -> str:
    return next((str(node.input[0]) for node in graph.node if node.op_type == "Softmax"), str(graph.output[0].name))


def _roles(graph: onnx.GraphProto, made: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What each made-up constant is: "scale", "weight"; others are shifts. Unsqueeze stands before a factor."""
    factors = {name for node in graph.node if node.op_type == "Mul" for name in node.input}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in made and node.op_type == "BatchNormalization":
                yield name, "scale" if place in (1, 4) else "shift"
            elif name in made and node.op_type in ("Conv", "Gemm") and place == 1:
                yield name, "weight"
            elif name in made and (name in factors or factors.intersection(node.output)):
                yield name, "scale"


def _random(rng: np.random.Generator, shape: tuple[int, ...], role: str) -> Array:
    if role == "scale":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    scale = (2 / np.prod(shape[1:])) ** 0.5 if role == "weight" else 0.2
    return (rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)).astype(np.float32)


def keras_model(name: str) -> ir.Model:
    """A network of keras.applications for the smallest images that it accepts, up to its logits."""
    import keras

    keras.utils.set_random_seed(3)
    size = next((pixels for start, pixels in SMALLEST.items() if name.startswith(start)), 32)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=100, classifier_activation=None
    )
    randomize(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.keras")
        model.save(path)
        del model
        keras.utils.clear_session()
        return canonicalize(import_model(path).model)


def randomize(model: Any) -> None:
    """Random scales, shifts and statistics of the norms and of LayerScale, whose initial 1e-6 would hide its branch.

    The scales shrink a little: networks of a hundred layers that grow are chaotic, and turn rounding into noise.
    """
    rng = np.random.default_rng(3)
    ranges = {"gamma": (0.5, 1.0), "moving_variance": (1.0, 2.0)}
    for layer in model.layers:
        if type(layer).__name__ in ("BatchNormalization", "LayerNormalization", "LayerScale"):
            layer.set_weights(
                [
                    rng.uniform(*ranges[weight.name], weight.shape)
                    if weight.name in ranges
                    else rng.normal(0, 0.2, weight.shape)
                    for weight in layer.weights
                ]
            )
        elif layer.name == "conv1_conv" and layer.use_bias:
            # onnxruntime merges the zeros that are padded next into a MaxPool, which is wrong for negative values.
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, bias + 4])


if __name__ == "__main__":
    chosen = sys.argv[1]
    print(json.dumps(asdict(measure(light_model(chosen) if chosen.startswith("light_") else keras_model(chosen)))))
