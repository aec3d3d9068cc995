"""The table from ONNX operators to the functions that tell how channels go through them."""

from collections.abc import Callable

import onnx_ir as ir

from edgekit.passes.prune.groups.tracking import Tracker

Rule = Callable[[Tracker, ir.Node], None]

RULES: dict[str, Rule] = {}


def rule(*op_types: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for ``op_types``.

    It reads the blocks of the node's inputs, unifies and pins, sets the blocks of the outputs, and says of every
    constant input which axes follow which labels. What it says nothing about is never shortened.
    """

    def register(function: Rule) -> Rule:
        for op_type in op_types:
            RULES[op_type] = function
        return function

    return register
