"""Numbers behind outputs that tell what was decided: an ArgMax's scores, what was compared with a threshold."""

from collections.abc import Iterator

import onnx_ir as ir

from edgekit.graph.queries import is_constant, is_floating

_DECISIONS = frozenset(
    {"ArgMax", "ArgMin", "TopK", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Sign", "Round", "Floor", "Ceil"}
)
_PASSES = frozenset(
    {
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Identity",
        "Not",
        "And",
        "Or",
        "Where",
        "Concat",
    }
)


def find_decided(model: ir.Model) -> list[ir.Value]:
    """The float values that outputs of other types were decided by, in the outputs' order, each once.

    Those that are outputs themselves are left out.
    """
    found = (value for output in model.graph.outputs if not is_floating(output) for value in _behind(output))
    return [value for value in dict.fromkeys(found) if not value.is_graph_output()]


def _behind(value: ir.Value) -> Iterator[ir.Value]:
    node = value.producer()
    if node is None or node.op_type not in _PASSES | _DECISIONS:
        return
    for operand in node.inputs:
        if operand is None or is_constant(operand):
            continue
        if node.op_type in _DECISIONS or (node.op_type == "Cast" and is_floating(operand)):
            if is_floating(operand) and operand.producer() is not None:
                yield operand
        else:
            yield from _behind(operand)


def reveal(model: ir.Model) -> list[str]:
    """Make what outputs were decided by outputs of ``model`` too, in place; returns their names."""
    decided = find_decided(model)
    model.graph.outputs.extend(decided)
    return [value.name or "" for value in decided]


def hide(model: ir.Model, names: list[str]) -> None:
    """Take outputs away again, in place."""
    kept = [value for value in model.graph.outputs if value.name not in names]
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
