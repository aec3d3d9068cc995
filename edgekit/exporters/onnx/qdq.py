"""Reading and moving QuantizeLinear/DequantizeLinear pairs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import constant_value, is_op, produced_by, single_consumer

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class PerTensorParams:
    """Scale, zero point and code range of one tensor: ``real = (code - zero_point) * scale``."""

    scale: float
    zero_point: int
    dtype: np.dtype[Any]

    @property
    def quant_min(self) -> int:
        """The smallest code."""
        return int(np.iinfo(self.dtype).min)

    @property
    def quant_max(self) -> int:
        """The largest code."""
        return int(np.iinfo(self.dtype).max)

    def code(self, real: float) -> int:
        """The code of a real number, saturated, rounded as QuantizeLinear does (half to even, in float32)."""
        return int(np.clip(self.unsaturated_code(real), self.quant_min, self.quant_max))

    def unsaturated_code(self, real: float) -> float:
        """The code that ``real`` would have without the bounds of the type."""
        return float(np.rint(np.float32(real) / np.float32(self.scale))) + self.zero_point


def per_tensor_params(node: ir.Node) -> PerTensorParams | None:
    """The parameters of a Q or DQ node; None when they are per axis, not constant, or those of a bias."""
    scale = constant_value(node.inputs[1])
    zero_point = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or zero_point is None or scale.size != 1 or zero_point.size != 1:
        return None
    if zero_point.dtype not in (np.int8, np.uint8):
        return None
    return PerTensorParams(float(scale.reshape(())), int(zero_point.reshape(())), zero_point.dtype)


def dequantizer_of(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that makes ``value``, when its parameters are per tensor."""
    node = produced_by(value, "DequantizeLinear")
    return node if node is not None and per_tensor_params(node) is not None else None


def quantizer_of(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that alone reads ``value``, when its parameters are per tensor."""
    node = single_consumer(value)
    if node is None or not is_op(node, "QuantizeLinear") or per_tensor_params(node) is None:
        return None
    return node


def insert_behind_quantizer(
    editor: GraphEditor, quantizer: ir.Node, op_type: str, constants: list[ir.Value], attributes: dict[str, Any]
) -> ir.Value:
    """Put ``op_type`` between the codes that ``quantizer`` makes and their readers; returns its output.

    The shape of the codes must already be the shape of ``quantizer``'s input.
    """
    codes = quantizer.outputs[0]
    readers = tuple(codes.uses())
    anchor = _first_reader(editor.graph, (use.node for use in readers))
    moved = editor.insert(anchor, op_type, [codes, *constants], attributes, like=codes)
    for use in readers:
        use.node.replace_input_with(use.idx, moved)
    return moved


def _first_reader(graph: ir.Graph, readers: Iterable[ir.Node]) -> ir.Node:
    nodes = set(readers)
    return next(node for node in graph if node in nodes)
