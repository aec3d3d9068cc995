"""Static int8: activations per tensor and asymmetric, weights per axis and symmetric, biases int32, all as QDQ pairs.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import input_of
from edgekit.passes.quantize.assignment import (
    Assignment,
    Group,
    activation_inputs,
    assign,
    constant,
    has_weight,
    output_values,
)
from edgekit.passes.quantize.calibration import Calibration
from edgekit.passes.quantize.op_rules import OpRule
from edgekit.passes.quantize.qparams import QParams, quantize
from edgekit.passes.quantize.rewrite import Rewriter
from edgekit.passes.quantize.scheme import QuantizationScheme
from edgekit.passes.quantize.weights import IntegerOperator, WeightedOperator, quantize_operator

_MOST_WORKERS = 8


def quantize_static(model: ir.Model, scheme: QuantizationScheme, calibration: Calibration) -> ir.Model:
    """A copy of the canonical float ``model`` with QDQ pairs at every quantized value and integer weights."""
    quantized = model.clone()
    rewriting = _Rewriting(quantized, scheme, calibration)
    rewriting.quantize_constants()
    rewriting.requantize_edges()
    for value in rewriting.assignment.quantized_values():
        rewriting.quantize_value(value)
    _drop_unit_dilations(quantized.graph)
    quantized.graph.sort()
    return quantized


def _drop_unit_dilations(graph: ir.Graph) -> None:
    """Onnxruntime copies an AveragePool's ``dilations`` to its QLinearAveragePool, which does not know them."""
    for node in graph:
        if node.op_type == "AveragePool" and set(node.attributes.get_ints("dilations", [1]) or [1]) == {1}:
            node.attributes.pop("dilations", None)


class _Rewriting:
    """One graph on its way from float to QDQ."""

    def __init__(self, model: ir.Model, scheme: QuantizationScheme, calibration: Calibration) -> None:
        self.scheme, self.calibration = scheme, calibration
        self.assignment: Assignment = assign(model, scheme.float_ops, calibration.span)
        self.rewriter = Rewriter(model.graph)
        self._chosen: dict[int, QParams] = {}
        # A weight that several operators read is rounded to nearest for all of them: they have different inputs.
        self._shared = {value for value in model.graph.initializers.values() if len(value.uses()) > 1}
        self._weights: dict[str, list[tuple[IntegerOperator, ir.Value]]] = {}

    def qparams(self, group: Group) -> QParams:
        """The parameters of a group, chosen once."""
        if id(group) not in self._chosen:
            self._chosen[id(group)] = self.calibration.group_qparams(group, self.scheme.observer)
        return self._chosen[id(group)]

    def quantize_constants(self) -> None:
        """Replace weights and biases by dequantized integers; operators are rounded side by side."""
        weighted = [(node, rule) for node, rule in self.assignment.rules.items() if has_weight(node, rule)]
        operators = [self._operator(node, rule) for node, rule in weighted]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_WORKERS)) as pool:
            integers = pool.map(lambda operator: quantize_operator(operator, self.scheme), operators)
            for (node, rule), codes in zip(weighted, integers, strict=True):
                self._replace_constants(node, rule, codes)

    def _replace_constants(self, node: ir.Node, rule: OpRule, integers: IntegerOperator) -> None:
        """A bias correction may add a bias."""
        assert rule.weight is not None
        weight = node.inputs[rule.weight]
        bias = None if rule.bias is None else input_of(node, rule.bias)
        assert weight is not None
        node.replace_input_with(rule.weight, self._dequantized_weight(node, weight, integers))
        if integers.bias is None or integers.bias_qparams is None or rule.bias is None:
            return
        name = f"{node.outputs[0].name}_bias" if bias is None else bias.name or ""
        dequantizer = self.rewriter.dequantized_constant(integers.bias, integers.bias_qparams, name)
        node.prepend(dequantizer)
        if rule.bias >= len(node.inputs):
            node.resize_inputs(rule.bias + 1)
        node.replace_input_with(rule.bias, dequantizer.outputs[0])

    def _operator(self, node: ir.Node, rule: OpRule) -> WeightedOperator:
        assert rule.weight is not None
        weight, (_, source) = node.inputs[rule.weight], next(activation_inputs(node, rule))
        bias = None if rule.bias is None else input_of(node, rule.bias)
        tensor, bias_tensor = constant(weight), constant(bias)
        assert weight is not None and tensor is not None
        return WeightedOperator(
            weight=tensor.numpy().astype(np.float32),
            axis=rule.weight_axis(node),
            bias=None if bias_tensor is None else bias_tensor.numpy().astype(np.float32),
            takes_bias=rule.bias is not None,
            source=self.qparams(self.assignment.groups[source]),
            target=self.qparams(self.assignment.groups[output_values(node, self.assignment)[0]]),
            moments=None if weight in self._shared else self.calibration.moments.get(node.name or ""),
        )

    def _dequantized_weight(self, node: ir.Node, weight: ir.Value, integers: IntegerOperator) -> ir.Value:
        known = self._weights.setdefault(weight.name or "", [])
        for other, value in known:
            if integers.weight_qparams.equals(other.weight_qparams) and np.array_equal(integers.weight, other.weight):
                return value
        dequantizer = self.rewriter.dequantized_constant(integers.weight, integers.weight_qparams, weight.name or "")
        node.prepend(dequantizer)
        known.append((integers, dequantizer.outputs[0]))
        return dequantizer.outputs[0]

    def requantize_edges(self) -> None:
        """Where a value's parameters are not those of the join that reads it, a second pair stands on the edge."""
        for count, edge in enumerate(self.assignment.requantizations):
            source = edge.node.inputs[edge.index]
            assert source is not None
            group = self.assignment.groups[edge.node.outputs[0]]
            pair = self.rewriter.pair(source, self.qparams(group), f"{source.name}_requantized_{count}")
            edge.node.prepend(pair)
            edge.node.replace_input_with(edge.index, pair[-1].outputs[0])

    def quantize_value(self, value: ir.Value) -> None:
        """Let every reader of ``value`` read it dequantized; of a constant, every reader that computes on codes."""
        qparams = self.qparams(self.assignment.groups[value])
        tensor, uses = constant(value), list(value.uses())
        if tensor is not None:
            uses = [use for use in uses if self._reads_codes(use.node, use.idx)]
            node = self.rewriter.dequantized_constant(quantize(tensor.numpy(), qparams), qparams, value.name or "")
            uses[0].node.prepend(node)
        else:
            pair = self.rewriter.pair(value, qparams, value.name or "")
            self.rewriter.insert_after(value, pair)
            node = pair[-1]
            if value.is_graph_output():
                self.rewriter.replace_output(value, node.outputs[0])
        for use in uses:
            use.node.replace_input_with(use.idx, node.outputs[0])

    def _reads_codes(self, node: ir.Node, index: int) -> bool:
        rule = self.assignment.rules.get(node)
        if rule is None:
            return node.op_type == "QuantizeLinear"
        return index in {i for i, _ in activation_inputs(node, rule)}
