"""What has to change in a node when the values around it get smaller: attributes and shape constants, op by op."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import attribute, constant_value, input_of, is_op, static_shape
from edgekit.passes.prune.groups import ChannelGroups

Keep = NDArray[np.bool_]
"""One per index of an axis: True where it stays."""

_REVERSED_END = -(2**63)
"""The ``end`` of a Slice with a negative step that runs down to index 0."""


class KeptChannels:
    """What is left of every value of a model; ``axes`` has the axes that lose something, by value name.

    Everything is about the model as it was given, so nodes may be changed meanwhile.
    """

    def __init__(self, model: ir.Model, groups: ChannelGroups, removed: NDArray[np.bool_]) -> None:
        graph = model.graph
        values = [*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)]
        self._values = {value.name: value for value in values if value.name}
        # Label -1 reads the last element: never removed.
        stays = np.append(~np.asarray(removed, dtype=bool), True)
        self.axes: dict[str, dict[int, Keep]] = {}
        for (name, axis), labels in groups.axes.items():
            keep = stays[labels]
            if name in self._values and not keep.all():
                self.axes.setdefault(name, {})[axis] = keep

    def knows(self, name: str) -> bool:
        """Whether the model had a value of this name with a static shape."""
        return name in self._values and static_shape(self._values[name]) is not None

    def shape_before(self, name: str) -> tuple[int, ...] | None:
        """As the model was given."""
        return static_shape(self._values[name]) if name in self._values else None

    def shape(self, name: str) -> tuple[int, ...]:
        """What is left, by the labels."""
        dims = list(self.shape_before(name) or ())
        for axis, keep in self.axes.get(name, {}).items():
            dims[axis] = int(keep.sum())
        return tuple(dims)

    def keep(self, value: ir.Value | None, axis: int) -> Keep:
        """One per index that the axis had."""
        assert value is not None
        name = value.name or ""
        shape = self.shape_before(name)
        assert shape is not None
        everything = np.ones(shape[axis], dtype=bool)
        return self.axes.get(name, {}).get(axis % len(shape), everything)

    def changes(self, value: ir.Value | None) -> bool:
        """Whether the value loses anything."""
        return value is not None and value.name in self.axes

    def constant(self, value: ir.Value | None) -> NDArray[Any] | None:
        """The constant as it was given."""
        return None if value is None else constant_value(self._values.get(value.name or "", value))

    def take(self, name: str) -> NDArray[Any]:
        """What is left of a constant."""
        array = constant_value(self._values[name])
        assert array is not None
        for axis, keep in self.axes[name].items():
            array = np.compress(keep, array, axis=axis)
        return array


def resize_node(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    """Adapt a node of the smaller graph, whose constants are cut already, to what is left of its values."""
    change = _CHANGES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if change is not None and any(kept.changes(value) for value in (*node.inputs, *node.outputs)):
        change(node, kept, editor)


def _set_attribute(node: ir.Node, name: str, number: int) -> None:
    node.attributes[name] = ir.AttrInt64(name, number)


def _left(kept: KeptChannels, value: ir.Value | None) -> tuple[int, ...]:
    assert value is not None
    return kept.shape(value.name or "")


def _conv(node: ir.Node, kept: KeptChannels, _: GraphEditor) -> None:
    """The weight is [out, in / group, ...], that of a ConvTranspose [in, out / group, ...]."""
    channels = _left(kept, node.inputs[0] if node.op_type == "Conv" else node.outputs[0])[1]
    if attribute(node, "group") != 1:
        _set_attribute(node, "group", channels // _left(kept, node.inputs[1])[1])


def _group_normalization(node: ir.Node, kept: KeptChannels, _: GraphEditor) -> None:
    """Whole groups go: each keeps its number of channels."""
    before = kept.keep(node.inputs[0], 1)
    _set_attribute(node, "num_groups", attribute(node, "num_groups") * int(before.sum()) // len(before))


def _split(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    axis = attribute(node, "axis")
    node.attributes.pop("num_outputs", None)
    sizes = [_left(kept, output)[axis] for output in node.outputs]
    editor.with_constant(node, 1, np.array(sizes, dtype=np.int64), f"{node.name}/split")


def _slice(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    """What is left of a slice need not be one: then a Gather takes it, and the Slice leaves its axis alone."""
    source = node.inputs[0]
    starts, ends, axes, steps = (_slice_constant(node, index, kept) for index in range(1, 5))
    for place, axis in enumerate(axes):
        keep = kept.keep(source, axis)
        taken = np.arange(len(keep))[starts[place] : ends[place] : steps[place]]
        indices = (np.cumsum(keep) - 1)[taken[keep[taken]]]
        progression = _progression(indices.tolist())
        if progression is None:
            _gather_before(node, axis, indices, editor)
            progression = (0, len(indices), 1)
        starts[place], ends[place], steps[place] = progression
    for index, numbers in enumerate((starts, ends, axes, steps), start=1):
        editor.with_constant(node, index, np.array(numbers, dtype=np.int64), f"{node.name}/slice")


def _slice_constant(node: ir.Node, index: int, kept: KeptChannels) -> list[int]:
    array = kept.constant(input_of(node, index))
    if array is not None:
        return [int(number) for number in array]
    starts = kept.constant(input_of(node, 1))
    assert starts is not None and index > 2, f"Slice {node.name!r} has no constant starts or ends"
    return list(range(len(starts))) if index == 3 else [1] * len(starts)


def _progression(indices: list[int]) -> tuple[int, int, int] | None:
    """The start, end and step of a Slice that takes ``indices``; None when none does."""
    steps = {after - before for before, after in pairwise(indices)} or {1}
    if not indices or len(steps) > 1:
        return (0, 0, 1) if not indices else None
    step = steps.pop()
    end = indices[-1] + (1 if step > 0 else -1)
    return indices[0], end if end >= 0 else _REVERSED_END, step


def _gather_before(node: ir.Node, axis: int, indices: NDArray[np.intp], editor: GraphEditor) -> None:
    source = node.inputs[0]
    assert source is not None and source.shape is not None
    constant = editor.constant(indices.astype(np.int64), f"{node.name}/indices")
    dims = list(source.shape.dims)
    dims[axis] = len(indices)
    taken = editor.insert(node, "Gather", [source, constant], {"axis": axis}, like=source, shape=dims)  # type: ignore[arg-type]
    node.replace_input_with(0, taken)


def _gather(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    """Constant indices: those of what is left, counted anew."""
    source, axis = node.inputs[0], attribute(node, "axis")
    indices = kept.constant(node.inputs[1])
    if indices is None or source is None:
        return
    keep = kept.keep(source, axis)
    first = axis % len(kept.shape_before(source.name or "") or ())
    for place in range(indices.ndim):
        indices = np.compress(kept.keep(node.outputs[0], first + place), indices, axis=place)
    editor.with_constant(node, 1, (np.cumsum(keep) - 1)[indices].astype(np.int64), f"{node.name}/indices")


def _target(place: int) -> Callable[[ir.Node, KeptChannels, GraphEditor], None]:
    """The constant at ``place`` is the output's shape, or its last dimensions."""

    def change(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
        before = kept.constant(input_of(node, place))
        if before is None or not len(before):
            return
        dims = np.array(_left(kept, node.outputs[0]), dtype=np.int64)[-len(before) :]
        if is_op(node, "Expand"):
            # A 1 asks for nothing; the other value may have the dimension.
            dims = np.where(before == 1, 1, dims)
        editor.with_constant(node, place, dims, f"{node.name}/shape")

    return change


def _squeeze(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    """Without axes it drops all of length 1, and a single channel may be left of an axis that was longer."""
    source = node.inputs[0]
    assert source is not None
    if input_of(node, 1) is None:
        shape = kept.shape_before(source.name or "") or ()
        single = np.array([axis for axis, size in enumerate(shape) if size == 1], dtype=np.int64)
        editor.with_constant(node, 1, single, f"{node.name}/axes")


def _resize(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    sizes = kept.constant(input_of(node, 3))
    if sizes is None or not len(sizes):
        return
    axes = attribute(node, "axes") or range(len(sizes))
    shape = _left(kept, node.outputs[0])
    editor.with_constant(node, 3, np.array([shape[axis] for axis in axes], dtype=np.int64), f"{node.name}/sizes")


def _tile(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    shape, source = _left(kept, node.outputs[0]), _left(kept, node.inputs[0])
    repeats = [made // given for made, given in zip(shape, source, strict=True)]
    editor.with_constant(node, 1, np.array(repeats, dtype=np.int64), f"{node.name}/repeats")


def _pad(node: ir.Node, kept: KeptChannels, editor: GraphEditor) -> None:
    """Padding may be channels of its own (a shortcut without weights), and negative padding takes some away."""
    pads = kept.constant(input_of(node, 1))
    assert pads is not None, f"Pad {node.name!r} has no constant pads"
    rank = len(_left(kept, node.inputs[0]))
    given = kept.constant(input_of(node, 3))
    axes = list(range(rank)) if given is None else [int(axis) % rank for axis in given]
    begins = [_padding(kept, node, axis, int(pads[place]), slice(None)) for place, axis in enumerate(axes)]
    ends = [
        _padding(kept, node, axis, int(pads[len(axes) + place]), slice(None, None, -1))
        for place, axis in enumerate(axes)
    ]
    editor.with_constant(node, 1, np.array(begins + ends, dtype=np.int64), f"{node.name}/pads")


def _padding(kept: KeptChannels, node: ir.Node, axis: int, amount: int, direction: slice) -> int:
    if amount >= 0:
        return int(kept.keep(node.outputs[0], axis)[direction][:amount].sum())
    return -int(kept.keep(node.inputs[0], axis)[direction][:-amount].sum())


_CHANGES: dict[str, Callable[[ir.Node, KeptChannels, GraphEditor], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "GroupNormalization": _group_normalization,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Squeeze": _squeeze,
    "Reshape": _target(1),
    "Expand": _target(1),
    "Resize": _resize,
    "Tile": _tile,
    "Pad": _pad,
}
