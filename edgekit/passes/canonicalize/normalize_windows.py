"""Convolutions and poolings with every attribute written out."""

import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import attribute, is_op, shape_of
from edgekit.graph.windows import CONVOLUTIONS, POOLS, Window, window

_IMPLIED = ("auto_pad", "output_shape", "ceil_mode")


class NormalizeWindows(RewritePass):
    """Resolves ``auto_pad``, ``output_shape`` and ``ceil_mode`` into explicit ``pads`` and writes out all defaults.

    Given:
        Conv(x, w, auto_pad=SAME_UPPER)
    Result:
        Conv(x, w, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], group=1)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """Only Conv, ConvTranspose, MaxPool, AveragePool and LpPool; True when an attribute changed."""
        if not is_op(node, *CONVOLUTIONS, *POOLS):
            return False
        resolved = window(node)
        attributes: dict[str, int | list[int]] = {
            "kernel_shape": list(resolved.kernel),
            "strides": list(resolved.strides),
            "dilations": list(resolved.dilations),
        }
        if node.op_type in CONVOLUTIONS:
            attributes["group"] = attribute(node, "group")
        if node.op_type == "ConvTranspose":
            attributes["output_padding"] = attribute(node, "output_padding") or [0] * len(resolved.kernel)
        if node.op_type == "AveragePool":
            attributes["count_include_pad"] = attribute(node, "count_include_pad")
        if node.op_type in POOLS:
            resolved, attributes["ceil_mode"] = _without_ceil(node, resolved)
        attributes["pads"] = resolved.pads
        return _set(node, attributes)


def _set(node: ir.Node, attributes: dict[str, int | list[int]]) -> bool:
    modified = False
    for name in _IMPLIED:
        if name in node.attributes and name not in attributes:
            del node.attributes[name]
            modified = True
    for name, wanted in attributes.items():
        given = node.attributes.get(name)
        if given is None or (list(given.value) if isinstance(wanted, list) else given.value) != wanted:
            node.attributes[name] = (
                ir.AttrInt64s(name, wanted) if isinstance(wanted, list) else ir.AttrInt64(name, wanted)
            )
            modified = True
    return modified


def _without_ceil(node: ir.Node, resolved: Window) -> tuple[Window, int]:
    """Rounding the output size up is padding at the end, except where the average counts padding."""
    if not attribute(node, "ceil_mode"):
        return resolved, 0
    assert node.inputs[0] is not None
    sizes, outputs = shape_of(node.inputs[0])[2:], shape_of(node.outputs[0])[2:]
    missing = [
        max((out - 1) * stride + extent - size - begin - end, 0)
        for out, stride, extent, size, begin, end in zip(
            outputs, resolved.strides, resolved.extent, sizes, resolved.begin, resolved.end, strict=True
        )
    ]
    if not any(missing):
        return resolved, 0
    end = tuple(a + b for a, b in zip(resolved.end, missing, strict=True))
    counts_pads = node.op_type == "LpPool" or attribute(node, "count_include_pad")
    if counts_pads or any(amount >= kernel for amount, kernel in zip(end, resolved.kernel, strict=True)):
        return resolved, 1
    return Window(resolved.kernel, resolved.strides, resolved.dilations, resolved.begin, end), 0
