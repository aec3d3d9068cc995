"""How much of a quantized graph computes on integers, and so what its artifacts may call themselves."""

import onnx_ir as ir

from edgekit.passes.quantize.op_rules import OP_RULES

_WITH_MACS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"})
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Shape", "Gather", "Slice", "Split"}
    | {"Concat", "Expand", "Tile", "Pad", "DepthToSpace", "SpaceToDepth"}
)


def computed_precision(network: ir.Model) -> str | None:
    """What a static int8 ``network`` really computes in: "int8", "mixed", or None when nothing computes on integers.

    "int8": every operator with multiply-accumulates (Conv, ConvTranspose, Gemm, MatMul, recurrent layers), and at least
    half of all operators that calculate, read and write codes. "mixed": only some do.
    """
    nodes = [node for node in network.graph if node.op_type not in _QDQ and not _is_fused(node)]
    calculating = [node for node in nodes if node.op_type not in _MOVES]
    integer = {node for node in calculating if _on_codes(node)}
    if not integer:
        return None
    products = {node for node in calculating if node.op_type in _WITH_MACS}
    return "int8" if products <= integer and 2 * len(integer) >= len(calculating) else "mixed"


def _is_fused(node: ir.Node) -> bool:
    """Whether ``node`` is the activation between an operator on codes and its QuantizeLinear."""
    if node.op_type not in ("Relu", "Clip"):
        return False
    source = None if node.inputs[0] is None else node.inputs[0].producer()
    return source is not None and _on_codes(source)


def _on_codes(node: ir.Node) -> bool:
    rule = OP_RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        return False
    indices = range(len(node.inputs)) if rule.activations is None else (*rule.activations, rule.weight)
    read = [node.inputs[index] for index in indices if index is not None and index < len(node.inputs)]
    written = [value for value in node.outputs if value.dtype == ir.DataType.FLOAT and value.uses()]
    return all(value is None or _is_dequantized(value) for value in read) and all(map(_is_quantized, written))


def _is_dequantized(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "DequantizeLinear"


def _is_quantized(value: ir.Value) -> bool:
    consumers = value.consumers()
    if len(consumers) == 1 and consumers[0].op_type in ("Relu", "Clip"):
        consumers = consumers[0].outputs[0].consumers()
    return bool(consumers) and all(node.op_type == "QuantizeLinear" for node in consumers)
