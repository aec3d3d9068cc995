"""Which inputs of the file are better off channels last."""

import onnx_ir as ir

from edgekit.exporters.tflite.ops.registry import RULES, Wants
from edgekit.exporters.tflite.quantization import is_dequantize, is_quantize


def wants_channels_last(value: ir.Value) -> bool:
    """Whether ``value`` reaches a channels-last operator through nothing but operators that take any layout."""
    seen: set[ir.Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for node in current.consumers():
            wants = Wants.ANY if is_quantize(node) or is_dequantize(node) else _wants(node)
            if wants is Wants.CHANNELS_LAST:
                return True
            if wants is Wants.ANY:
                pending.extend(node.outputs)
    return False


def _wants(node: ir.Node) -> Wants:
    rule = RULES.get(node.op_type)
    return rule.wants if rule is not None else Wants.SOURCE
