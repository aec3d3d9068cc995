"""Rewrites of the finished operator list that hold whatever produced it; each keeps the numbers bit for bit."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.exporters.tflite.model import FlatModel, Operator, Tensor

_REDUCERS = frozenset(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
_SMALL_CONSTANT = 4096
"""Bytes up to which equal constants of two operators are recognized when looking for duplicated operators."""


def simplify(model: FlatModel) -> None:
    """Merge chains of RESHAPE, absorb them in reductions, drop no-ops, duplicates and whatever no output needs."""
    changed = True
    while changed:
        _remove_dead(model)
        changed = sum(rewrite(_Graph(model)) for rewrite in _REWRITES) > 0
    _remove_dead(model)


class _Graph:
    """Producers and users of one moment; rebuilt after each rewrite."""

    def __init__(self, model: FlatModel) -> None:
        self.model = model
        self.producer = {tensor: op for op in model.operators for tensor in op.outputs}
        self.users: dict[Tensor, list[Operator]] = {}
        for op in model.operators:
            for tensor in op.inputs:
                if tensor is not None:
                    self.users.setdefault(tensor, []).append(op)
        self.inputs = {tensor for _, tensor in model.inputs}
        self.outputs = {tensor for _, tensor in model.outputs}

    def only_user(self, tensor: Tensor) -> Operator | None:
        users = self.users.get(tensor, [])
        return users[0] if len(users) == 1 and tensor not in self.outputs else None

    def replace(self, old: Tensor, new: Tensor) -> bool:
        """Let users of ``old`` read ``new``; an output of the file keeps its tensor, made by ``new``'s producer."""
        if old in self.outputs:
            maker = self.producer.get(new)
            if maker is None or new in self.outputs or new in self.inputs:
                return False
            self.producer[old].outputs = [t for t in self.producer[old].outputs if t is not old] or [new]
            old, new = new, old
            maker.outputs = [new if t is old else t for t in maker.outputs]
        for op in self.model.operators:
            op.inputs = [new if tensor is old else tensor for tensor in op.inputs]
        return True


def _first(op: Operator) -> Tensor:
    tensor = op.inputs[0]
    assert tensor is not None
    return tensor


def _remove_dead(model: FlatModel) -> None:
    needed = {tensor for _, tensor in model.outputs}
    kept: list[Operator] = []
    for op in reversed(model.operators):
        if needed.intersection(op.outputs):
            kept.append(op)
            needed.update(t for t in op.inputs if t is not None)
    model.operators = kept[::-1]


def _merge_reshapes(graph: _Graph) -> bool:
    changed = False
    for op in graph.model.operators:
        before = graph.producer.get(_first(op)) if op.builtin == "RESHAPE" else None
        if before is not None and before.builtin == "RESHAPE":
            op.inputs[0] = before.inputs[0]
            changed = True
    return changed


def _drop_identity_reshapes(graph: _Graph) -> bool:
    for op in graph.model.operators:
        if (
            op.builtin == "RESHAPE"
            and _first(op).shape == op.outputs[0].shape
            and graph.replace(op.outputs[0], _first(op))
        ):
            graph.model.operators.remove(op)
            return True
    return False


def _absorb_in_reductions(graph: _Graph) -> bool:
    """Reduce(keep_dims) -> RESHAPE to the shape of the other keep_dims becomes one reduction."""
    for op in graph.model.operators:
        follower = graph.only_user(op.outputs[0]) if op.builtin in _REDUCERS else None
        if follower is None or follower.builtin != "RESHAPE":
            continue
        source, keep = _first(op), bool(op.options["keep_dims"])
        axes_tensor = op.inputs[1]
        assert axes_tensor is not None and axes_tensor.data is not None
        axes = {int(axis) for axis in np.ravel(axes_tensor.data)}
        flipped = tuple(1 if i in axes else s for i, s in enumerate(source.shape) if not keep or i not in axes)
        if follower.outputs[0].shape == flipped:
            op.outputs = follower.outputs
            op.options["keep_dims"] = not keep
            graph.model.operators.remove(follower)
            return True
    return False


def _cancel_requantization(graph: _Graph) -> bool:
    """QUANTIZE of a DEQUANTIZE with the same scale is the codes themselves."""
    for op in graph.model.operators:
        before = graph.producer.get(_first(op)) if op.builtin == "QUANTIZE" else None
        if before is None or before.builtin != "DEQUANTIZE":
            continue
        codes, result = _first(before), op.outputs[0]
        if (
            codes.quantization is None
            or codes.dtype != result.dtype
            or not codes.quantization.same(result.quantization)
        ):
            continue
        if graph.replace(result, codes):
            graph.model.operators.remove(op)
            return True
    return False


def _content(tensor: Tensor | None) -> Any:
    if tensor is None or tensor.data is None or tensor.data.nbytes > _SMALL_CONSTANT:
        return id(tensor)
    return tensor.dtype.str, tensor.shape, tensor.quantization, tensor.data.tobytes()


def _key(op: Operator) -> Any:
    options = tuple((key, np.asarray(value).tobytes()) for key, value in sorted(op.options.items()))
    results = tuple((t.dtype.str, t.shape, t.quantization) for t in op.outputs)
    return op.builtin, tuple(_content(tensor) for tensor in op.inputs), options, results


def _merge_duplicates(graph: _Graph) -> bool:
    seen: dict[Any, Operator] = {}
    changed = False
    for op in graph.model.operators:
        first = seen.setdefault(_key(op), op)
        if first is op or graph.outputs.intersection(op.outputs):
            continue
        for old, new in zip(op.outputs, first.outputs, strict=True):
            changed |= bool(graph.users.get(old)) and graph.replace(old, new)
    return changed


_REWRITES: tuple[Callable[[_Graph], bool], ...] = (
    _merge_reshapes,
    _drop_identity_reshapes,
    _absorb_in_reductions,
    _cancel_requantization,
    _merge_duplicates,
)
