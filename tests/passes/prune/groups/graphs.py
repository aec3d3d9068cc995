"""Write a small graph as text, find its channel groups, and prove them: what is removed computes what is zeroed."""

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from edgekit.graph import IR_VERSION, OPSET
from edgekit.graph.shapes import infer_shapes
from edgekit.passes.prune.groups import ChannelGroups, find_channel_groups
from edgekit.passes.prune.removal import remove, zero
from tests.passes.prune.networks import Array, choose, difference, run

Told = dict[str, tuple[int, int, list[str], list[str]]]


def graph(text: str, **constants: Any) -> ir.Model:
    """``(float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv(x, w) }``; a node is called as its first output.

    ``constants``: arrays, or shapes (tuples) of random numbers.
    """
    proto = onnx.parser.parse_model(f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]> g {text}')
    rng = np.random.default_rng(5)
    for name, given in constants.items():
        array = rng.normal(size=given).astype(np.float32) if isinstance(given, tuple) else np.asarray(given)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in proto.graph.node:
        node.name = node.output[0]
    return infer_shapes(ir.serde.deserialize_model(proto))


def ints(*numbers: int) -> Array:
    """A constant for sizes, axes and pads."""
    return np.array(numbers, dtype=np.int64)


def find(text: str, **constants: Any) -> ChannelGroups:
    """The groups, once removing some of their units at random has proved equal to zeroing them."""
    model = graph(text, **constants)
    groups = find_channel_groups(model)
    for seed in range(2):
        removed = choose(groups, np.random.default_rng(seed), 0.5)
        zeroed = run(zero(model, groups, removed))
        assert all(np.isfinite(array).all() for array in zeroed)
        assert difference(zeroed, run(remove(model, groups, removed))) < 1e-5
    return groups


def told(groups: ChannelGroups) -> Told:
    """By group name: channels, units, nodes that make them, nodes that read them."""
    return {
        group.name: (
            group.channels,
            len(group.units),
            [use.node for use in group.producers],
            [use.node for use in group.consumers],
        )
        for group in groups.groups
    }


def labels(groups: ChannelGroups, name: str, axis: int) -> list[int]:
    """Units along an axis, counted from 0 in the order in which they first occur there; -1 where none is removed."""
    units = groups.axes[name, axis]
    order = {unit: number for number, unit in enumerate(dict.fromkeys(int(unit) for unit in units if unit >= 0))}
    return [order.get(int(unit), -1) for unit in units]


def reasons(groups: ChannelGroups) -> dict[str, str]:
    """Why the channels of a node are left whole."""
    return {whole.node: whole.reason for whole in groups.whole}
