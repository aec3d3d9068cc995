"""Operators that MNN's converter accepts and gets wrong, and that edgekit has no other form for."""

from collections.abc import Callable

import onnx_ir as ir

from edgekit.exporters import UnsupportedNode

_WRONG = "MNN computes something else"


def _dilated(node: ir.Node) -> str | None:
    dilations = node.attributes.get_ints("dilations", [])
    return "MNN has no dilated pooling" if any(dilation != 1 for dilation in dilations) else None


def _average(node: ir.Node) -> str | None:
    is_padded_volume = len(node.attributes.get_ints("kernel_shape", [])) == 3 and any(
        node.attributes.get_ints("pads", [])
    )
    return f"{_WRONG} for padded volumes" if is_padded_volume else None


def _resize(node: ir.Node) -> str | None:
    mode = node.attributes.get_string("mode", "nearest")
    transformation = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if node.attributes.get_int("antialias", 0) or node.attributes.get_int("exclude_outside", 0):
        return "MNN has no antialiased resizing"
    if transformation == "tf_crop_and_resize":
        return "MNN has no cropping resize"
    if mode == "cubic" and transformation not in ("align_corners", "asymmetric"):
        return f"{_WRONG} for cubic {transformation}"
    if mode == "linear" and transformation == "half_pixel_symmetric":
        return f"{_WRONG} for linear {transformation}"
    return None


def _pad(node: ir.Node) -> str | None:
    return "MNN has no wrapping Pad" if node.attributes.get_string("mode", "constant") == "wrap" else None


def _one_hot(node: ir.Node) -> str | None:
    return f"{_WRONG} for the last axis" if node.attributes.get_int("axis", -1) == -1 else None


def _mod(node: ir.Node) -> str | None:
    return f"{_WRONG} for fmod" if node.attributes.get_int("fmod", 0) else None


def _always(node: ir.Node) -> str | None:
    return _WRONG


_RULES: dict[str, Callable[[ir.Node], str | None]] = {
    "AveragePool": _average,
    "LpPool": _always,
    "MaxPool": _dilated,
    "Mod": _mod,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Resize": _resize,
    "Shrink": _always,
}


def known_unsupported(model: ir.Model) -> list[UnsupportedNode]:
    """The nodes that MNN would take and compute wrongly."""
    found = []
    for node in model.graph:
        reason = _RULES[node.op_type](node) if node.op_type in _RULES else None
        if reason is not None:
            found.append(UnsupportedNode(node.op_type, node.name or "", reason))
    return found
