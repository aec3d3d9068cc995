"""Functions of each number alone: they keep the layout."""

import math
from collections.abc import Callable
from typing import Any

from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes

Unary = Callable[[Any, Tensor], Tensor]

_FUNCTIONS: dict[str, Unary] = {
    "Abs": lambda tf, x: tf.abs(x),
    "Ceil": lambda tf, x: tf.math.ceil(x),
    "Cos": lambda tf, x: tf.cos(x),
    "Dropout": lambda tf, x: x,
    "Erf": lambda tf, x: tf.math.erf(x),
    "Exp": lambda tf, x: tf.exp(x),
    "Floor": lambda tf, x: tf.floor(x),
    "HardSwish": lambda tf, x: x * tf.clip_by_value(x / 6 + 0.5, 0.0, 1.0),
    "Identity": lambda tf, x: x,
    "Log": lambda tf, x: tf.math.log(x),
    "Mish": lambda tf, x: x * tf.tanh(tf.math.softplus(x)),
    "Neg": lambda tf, x: -x,
    "Not": lambda tf, x: tf.logical_not(x),
    "Reciprocal": lambda tf, x: 1 / x,
    "Relu": lambda tf, x: tf.nn.relu(x),
    "Round": lambda tf, x: tf.round(x),
    "Sigmoid": lambda tf, x: tf.sigmoid(x),
    "Sign": lambda tf, x: tf.sign(x),
    "Sin": lambda tf, x: tf.sin(x),
    "Softplus": lambda tf, x: tf.math.softplus(x),
    "Softsign": lambda tf, x: tf.math.softsign(x),
    "Sqrt": lambda tf, x: tf.sqrt(x),
    "Tanh": lambda tf, x: tf.tanh(x),
}


def _mapped(op: Operation, function: Callable[[Tensor], Tensor]) -> Activation:
    source = op.operand()
    return source.like(function(source.native))


@computes(*_FUNCTIONS)
def unary(op: Operation) -> Activation:
    """A function without parameters."""
    function = _FUNCTIONS[op.node.op_type]
    return _mapped(op, lambda x: function(op.tf, x))


@computes("Clip")
def clip(op: Operation) -> Activation:
    """Bounds that are left out do not bound."""
    low, high = (op.constant(index) if op.given(index) else None for index in (1, 2))

    def bounded(x: Tensor) -> Tensor:
        if low is not None and high is not None and low.item() == 0 and high.item() == 6:
            return op.tf.nn.relu6(x)
        x = x if low is None else op.tf.maximum(x, low.item())
        return x if high is None else op.tf.minimum(x, high.item())

    return _mapped(op, bounded)


@computes("LeakyRelu")
def leaky_relu(op: Operation) -> Activation:
    """alpha x below 0."""
    return _mapped(op, lambda x: op.tf.nn.leaky_relu(x, op.attribute("alpha")))


@computes("ThresholdedRelu")
def thresholded_relu(op: Operation) -> Activation:
    """0 up to alpha."""
    return _mapped(op, lambda x: op.tf.where(x > op.attribute("alpha"), x, op.tf.zeros_like(x)))


@computes("Elu", "Selu", "Celu")
def exponential(op: Operation) -> Activation:
    """An exponential below 0."""
    alpha, tf = op.attribute("alpha"), op.tf

    def selu(x: Tensor) -> Tensor:
        gamma = op.attribute("gamma")
        return gamma * (tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0)) - 1))

    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "Elu": lambda x: tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0)) - 1),
        "Celu": lambda x: tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0) / alpha) - 1),
        "Selu": selu,
    }
    return _mapped(op, forms[op.node.op_type])


@computes("HardSigmoid")
def hard_sigmoid(op: Operation) -> Activation:
    """A line from 0 to 1."""
    return _mapped(op, lambda x: op.tf.clip_by_value(op.attribute("alpha") * x + op.attribute("beta"), 0.0, 1.0))


@computes("Gelu")
def gelu(op: Operation) -> Activation:
    """By erf or by tanh."""
    tf = op.tf
    if op.attribute("approximate") == "tanh":
        return _mapped(op, lambda x: 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))))
    return _mapped(op, lambda x: 0.5 * x * (1 + tf.math.erf(x / math.sqrt(2))))


@computes("Cast")
def cast(op: Operation) -> Activation:
    """To the output's type."""
    dtype = op.node.outputs[0].dtype
    assert dtype is not None
    return _mapped(op, lambda x: op.tf.cast(x, dtype.numpy()))
