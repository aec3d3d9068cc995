"""Train with the rounding of static int8 in place, so that what is learned survives it.

Weights and activations are fake-quantized: rounded to what their codes will mean (Jacob et al. 2018, "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3). Rounding has no useful
derivative; the gradient goes straight through it, and is 0 beyond the range (Bengio et al. 2013, "Estimating or
Propagating Gradients Through Stochastic Neurons", arXiv:1308.3432).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.quantize.assignment import Assignment, assign, constant, has_weight
from edgekit.passes.quantize.calibration import calibrate
from edgekit.passes.quantize.qparams import QParams
from edgekit.passes.quantize.scheme import QuantizationScheme
from edgekit.passes.recover.activation import Activation, Tensor

Sample = Mapping[str, NDArray[Any]]


class FakeQuantization:
    """An ``Intercept`` that rounds what ``scheme`` will round; ranges of activations are those of ``model``.

    Ranges of weights follow the weights. ``scheme`` is one of static int8.
    """

    def __init__(self, tf: Any, model: ir.Model, samples: Iterable[Sample], scheme: QuantizationScheme) -> None:
        self._tf, self._scheme = tf, scheme
        assignment = assign(model, scheme.float_ops)
        self._axes = _weight_axes(assignment, scheme)
        self._qparams: dict[str, QParams] = {}
        calibration = calibrate(model, samples, observer=scheme.observer, moments=False, float_ops=[scheme.float_ops])
        for value in assignment.quantized_values():
            self._qparams[value.name or ""] = calibration.group_qparams(assignment.groups[value], scheme.observer)

    def __call__(self, value: ir.Value, activation: Activation) -> Activation:
        """What the readers of ``value`` read."""
        name = value.name or ""
        if name in self._axes and constant(value) is not None:
            return activation.like(self._weight(activation.native, self._axes[name]))
        qparams = self._qparams.get(name)
        return activation if qparams is None else activation.like(self._activation(activation.native, qparams))

    def _weight(self, weight: Tensor, axis: int | None) -> Tensor:
        """[1, *shape], symmetric, at scales that cover each output channel."""
        tf, most = self._tf, self._scheme.weight_quant_max
        kept = None if axis is None else [a for a in range(len(weight.shape)) if a != axis + 1]
        bound = tf.reduce_max(tf.abs(weight), kept, keepdims=True)
        scale = tf.stop_gradient(tf.maximum(bound / most, np.finfo(np.float32).tiny))
        return self._straight_through(weight, lambda x: tf.round(x / scale) * scale)

    def _activation(self, x: Tensor, q: QParams) -> Tensor:
        scale, zero_point = float(q.scale), float(q.zero_point)
        low, high = (q.quant_min - zero_point) * scale, (q.quant_max - zero_point) * scale
        # The zero point is whole: rounding before it is added rounds the same way.
        return self._straight_through(self._tf.clip_by_value(x, low, high), lambda v: self._tf.round(v / scale) * scale)

    def _straight_through(self, x: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
        return x + self._tf.stop_gradient(rounded(x) - x)


def _weight_axes(assignment: Assignment, scheme: QuantizationScheme) -> dict[str, int | None]:
    """The output-channel axis of each weight, by name; None for one scale."""
    axes: dict[str, int | None] = {}
    for node, rule in assignment.rules.items():
        weight = node.inputs[rule.weight] if rule.weight is not None and has_weight(node, rule) else None
        if weight is not None:
            axes[weight.name or ""] = rule.weight_axis(node) if scheme.weight_granularity == "per_axis" else None
    return axes
