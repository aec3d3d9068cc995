"""Decide which values of a float graph become integers and with which parameters.

Operators that only move numbers (`Output.SAME_AS_INPUTS`) tie their tensors into groups with one scale (union-find);
fixed demands (a Softmax output) win a group; a group that feeds a join of several is requantized on that edge instead.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgekit.graph.parts import find_parts
from edgekit.passes.quantize.op_rules import OP_RULES, OpRule, Output
from edgekit.passes.quantize.qparams import QParams

# Attention masks add -inf, -3.4e38 or -1e9 to the scores; through these operators that stays what it is.
_LEAST_MASK = 1e8
_MASKED_OPS = frozenset(
    {"Add", "Sub", "Mul", "Div", "Where", "Pad", "Concat", "Reshape", "Transpose", "Slice", "Expand", "Unsqueeze"}
)

_JOINS = frozenset({"Concat", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose"})
_TAKES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Split", "Slice"})

# Steep where their input is small: an error of half a step there becomes one of many steps behind them.
_STEEP_INPUTS = {"Sqrt": 0, "Log": 0, "Reciprocal": 0, "Div": 1, "Pow": 0}
_FEEDS_STEEP = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Relu", "Clip", "Max", "Abs", "Neg", "ReduceMean", "ReduceSum", "Reshape"}
)


# Of the parts of a joined output: the smallest would have three bits less than the largest.
_UNLIKE = 8.0

Span = Callable[[ir.Value], float | None]


@dataclass(slots=True)
class Group:
    """Values that share one scale. ``computed``: an integer kernel reads or writes one of them."""

    members: list[ir.Value] = field(default_factory=list)
    fixed: QParams | None = None
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Requantization:
    """Input ``index`` of ``node`` reads a value whose parameters differ from the node's group ``group``."""

    node: ir.Node
    index: int
    group: Group


@dataclass(slots=True)
class Assignment:
    """The integer part of a graph: a group for each quantized value, and the operators that compute on integers."""

    groups: dict[ir.Value, Group] = field(default_factory=dict)
    rules: dict[ir.Node, OpRule] = field(default_factory=dict)
    fused: dict[ir.Node, ir.Node] = field(default_factory=dict)
    requantizations: list[Requantization] = field(default_factory=list)

    def quantized_values(self) -> list[ir.Value]:
        """All values, activations and constant operands, that get codes; weights and biases not included."""
        return [value for value, group in self.groups.items() if group.computed]


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind an initializer that no caller can override, else None."""
    if value is None or value.is_graph_input() or not value.is_initializer():
        return None
    return value.const_value


def assign(model: ir.Model, float_ops: tuple[str, ...] = (), span: Span = lambda _: None) -> Assignment:
    """The groups of ``model``'s quantizable values.

    It depends on the structure alone, but for outputs joined of what has very different ``span``s, which then stay
    float: the largest magnitude of a value, where it is known.
    """
    assignment = Assignment()
    masked: set[ir.Value] = set()
    floats = _before_steep_functions(model) | _joining_unlike_outputs(model, span)
    for node in model.graph:
        if _carries_mask(node, masked):
            masked.update(node.outputs)
            continue
        rule = _applicable_rule(node, float_ops)
        if rule is None or node in floats or _reads_mask(node, rule, masked):
            continue
        assignment.rules[node] = rule
        activation = fused_activation(node, rule)
        if activation is not None and activation.op_type not in float_ops:
            assignment.fused[node] = activation
    for activation in assignment.fused.values():
        assignment.rules.pop(activation, None)
    for node, rule in assignment.rules.items():
        _assign_node(assignment, node, rule)
    for node in [node for node, rule in assignment.rules.items() if not _is_computed(assignment, node, rule)]:
        del assignment.rules[node]
    return assignment


def fused_activation(node: ir.Node, rule: OpRule) -> ir.Node | None:
    """The Relu or Clip that saturation of ``node``'s output codes performs for free, if one follows alone."""
    output = node.outputs[0]
    consumers = output.consumers()
    if not rule.fuses_activation or len(consumers) != 1 or output.is_graph_output():
        return None
    consumer = consumers[0]
    if consumer.graph is not node.graph:
        return None
    if consumer.op_type == "Relu" or (consumer.op_type == "Clip" and _clip_holds_zero(consumer, output)):
        return consumer
    return None


def activation_inputs(node: ir.Node, rule: OpRule) -> Iterator[tuple[int, ir.Value]]:
    """The positions and values that ``node`` reads as quantized tensors, weights and biases excluded."""
    indices = range(len(node.inputs)) if rule.activations is None else rule.activations
    for index in indices:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None and not (index == rule.weight and has_weight(node, rule)):
            yield index, value


def has_weight(node: ir.Node, rule: OpRule) -> bool:
    """Whether ``node`` has a constant weight that is quantized on its own."""
    if rule.weight is None:
        return False
    tensor = constant(node.inputs[rule.weight])
    return tensor is not None and (not rule.weight_optional or len(tensor.shape) == 2)


def output_values(node: ir.Node, assignment: Assignment) -> list[ir.Value]:
    """What ``node`` gives to others in float: its outputs, or those of the activation fused into it; no indices."""
    outputs = assignment.fused.get(node, node).outputs
    return [value for value in outputs if value.name and value.dtype == ir.DataType.FLOAT]


def _clip_holds_zero(clip: ir.Node, source: ir.Value) -> bool:
    if clip.inputs[0] is not source:
        return False
    bounds = [constant(value) for value in clip.inputs[1:] if value is not None]
    if any(bound is None for bound in bounds):
        return False
    low = constant(clip.inputs[1]) if len(clip.inputs) > 1 else None
    high = constant(clip.inputs[2]) if len(clip.inputs) > 2 else None
    return (low is None or low.numpy().item() <= 0) and (high is None or high.numpy().item() >= 0)


def _carries_mask(node: ir.Node, masked: set[ir.Value]) -> bool:
    """Whether the output holds the huge numbers that hide positions from a Softmax; no scale suits those and others."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in _MASKED_OPS:
        return False
    return any(value in masked or _is_mask(constant(value)) for value in node.inputs if value is not None)


def _reads_mask(node: ir.Node, rule: OpRule, masked: set[ir.Value]) -> bool:
    operands = (constant(value) for _, value in activation_inputs(node, rule))
    return any(value in masked for value in node.inputs) or any(_is_mask(tensor) for tensor in operands)


def _before_steep_functions(model: ir.Model) -> set[ir.Node]:
    """The arithmetic whose result only roots, logarithms and divisors read: ``re² + im²`` of a magnitude, a variance.

    It stays float, back to the values that others read too.
    """
    kept: set[ir.Node] = set()
    for node in reversed(model.graph):
        if node.op_type not in _FEEDS_STEEP or node.domain not in ("", "ai.onnx"):
            continue
        output = node.outputs[0]
        steep = [use.node in kept or _is_steep(use.node, use.idx) for use in output.uses()]
        if steep and all(steep) and not output.is_graph_output():
            kept.add(node)
    return kept


def _joining_unlike_outputs(model: ir.Model, span: Span) -> set[ir.Node]:
    """What joins a detector's boxes and its scores, or else what differs much, to one output: no scale suits both."""
    kept: set[ir.Node] = set()
    for output in model.graph.outputs:
        parts = [part.value for part in find_parts(output, most=None)]
        if not _are_unlike(parts, span):
            continue
        values: list[ir.Value | None] = [output]
        while values:
            value = values.pop()
            node = None if value is None or value in parts else value.producer()
            if node is not None and node.op_type in _JOINS:
                kept.add(node)
                values += node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return kept


def _are_unlike(parts: list[ir.Value], span: Span) -> bool:
    if len({_has_fixed_range(part) for part in parts}) > 1:
        return True
    spans = [found for part in parts if (found := span(part)) is not None]
    return len(spans) > 1 and max(spans) > _UNLIKE * min(spans)


def _has_fixed_range(value: ir.Value) -> bool:
    node = value.producer()
    while node is not None and node.op_type in _TAKES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    rule = None if node is None or node.domain not in ("", "ai.onnx") else OP_RULES.get(node.op_type)
    return rule is not None and isinstance(rule.output, QParams)


def _is_steep(node: ir.Node, index: int) -> bool:
    if _STEEP_INPUTS.get(node.op_type) != index:
        return False
    exponent = constant(node.inputs[1]) if node.op_type == "Pow" else None
    return node.op_type != "Pow" or (exponent is not None and bool((exponent.numpy() < 1).all()))


def _is_mask(tensor: ir.TensorProtocol | None) -> bool:
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return False
    return bool(np.abs(tensor.numpy()).max(initial=0.0) >= _LEAST_MASK)


def _applicable_rule(node: ir.Node, float_ops: tuple[str, ...]) -> OpRule | None:
    rule = OP_RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None or node.op_type in float_ops:
        return None
    if rule.weight is not None and not rule.weight_optional and not has_weight(node, rule):
        return None
    if rule.bias is not None and len(node.inputs) > rule.bias and not _is_constant_or_absent(node.inputs[rule.bias]):
        return None
    values = [value for _, value in activation_inputs(node, rule)]
    if not values or any(value.dtype != ir.DataType.FLOAT for value in values):
        return None
    return None if all(constant(value) is not None for value in values) else rule


def _is_constant_or_absent(value: ir.Value | None) -> bool:
    return value is None or constant(value) is not None


def _assign_node(assignment: Assignment, node: ir.Node, rule: OpRule) -> None:
    groups = assignment.groups
    inputs = list(activation_inputs(node, rule))
    outputs = output_values(node, assignment)
    for value in (*(value for _, value in inputs), *outputs):
        groups.setdefault(value, Group([value]))
    if rule.output is not Output.SAME_AS_INPUTS:
        for value in (*(value for _, value in inputs), *outputs):
            groups[value].computed = True
        if isinstance(rule.output, QParams):
            for value in outputs:
                groups[value].fixed = rule.output
        return
    _tie(assignment, node, inputs, outputs)


def _tie(assignment: Assignment, node: ir.Node, inputs: list[tuple[int, ir.Value]], outputs: list[ir.Value]) -> None:
    """Give ``inputs`` and ``outputs`` one scale; a fixed input that others must not follow is requantized."""
    groups = assignment.groups
    fixed = [groups[value].fixed for _, value in inputs]
    first = fixed[0]
    follow = first is not None and all(other is not None and other.equals(first) for other in fixed)
    target = groups[(outputs or [inputs[0][1]])[0]]
    for value in outputs[1:]:
        target = _union(groups, target, groups[value])
    for index, value in inputs:
        if groups[value].fixed is None or follow:
            target = _union(groups, target, groups[value])
        else:
            groups[value].computed = target.computed = True
            assignment.requantizations.append(Requantization(node, index, target))


def _union(groups: dict[ir.Value, Group], left: Group, right: Group) -> Group:
    if left is right:
        return left
    left.members.extend(right.members)
    left.fixed = left.fixed or right.fixed
    left.computed = left.computed or right.computed
    for value in right.members:
        groups[value] = left
    return left


def _is_computed(assignment: Assignment, node: ir.Node, rule: OpRule) -> bool:
    return all(assignment.groups[value].computed for _, value in activation_inputs(node, rule))
