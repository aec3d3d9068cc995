"""The canonical graph as differentiable TensorFlow functions of many samples at once.

A graph has a static batch, mostly of one; a sample is what it takes at once. Every value gets an axis of samples
before its own axes, so that nothing in the graph (the target of a Reshape, a Transpose that moves the batch) has to be
rewritten to run several samples.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import UnsupportedError
from edgekit.graph.queries import constant_value, input_of, is_op, shape_of
from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops import OPS, Operation
from edgekit.passes.recover.tensorflow import load_tensorflow

Intercept = Callable[[ir.Value, Activation], Activation]
"""Given each value when it is first there; what it returns is what the others read."""

_WEIGHTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
}
"""The inputs that are trained where they are constants."""

_MASK = 1e8
"""Constants as large as this hide something (attention masks); they are no weights."""


def trained_weights(model: ir.Model) -> dict[str, NDArray[np.float32]]:
    """The initializers that recovery may change, in the order of the nodes: weights, biases, scales and slopes."""
    found: dict[str, NDArray[np.float32]] = {}
    for node in model.graph:
        for value in _weights_of(node):
            array = constant_value(value) if value.is_initializer() else None
            if array is not None and array.dtype == np.float32 and np.abs(array).max(initial=0.0) < _MASK:
                found[value.name or ""] = array
    return found


def _weights_of(node: ir.Node) -> Iterator[ir.Value]:
    indices = _WEIGHTS.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ()
    if is_op(node, "Add") and any(_is_product(value) for value in node.inputs):
        indices = (0, 1)
    for index in indices:
        value = input_of(node, index)
        if value is not None:
            yield value


def _is_product(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and is_op(producer, "MatMul", "Einsum")


def replace_weights(model: ir.Model, weights: Mapping[str, NDArray[np.float32]]) -> ir.Model:
    """A copy of ``model`` with other initializers of the same shapes."""
    replaced = model.clone()
    for name, array in weights.items():
        value = replaced.graph.initializers[name]
        value.const_value = ir.Tensor(np.ascontiguousarray(array, np.float32).reshape(shape_of(value)), name=name)
    return replaced


def require_trainable(model: ir.Model, role: str) -> None:
    """Raise UnsupportedError that names the first node without a function. ``role``: whose network it is."""
    missing = [node for node in model.graph if node.domain not in ("", "ai.onnx") or node.op_type not in OPS]
    if missing:
        others = sorted({node.op_type for node in missing})
        raise UnsupportedError(
            f"{role}: {missing[0].op_type} node '{missing[0].name}' cannot be trained "
            f"(operators without a gradient here: {', '.join(others)}); leave recovery out"
        )


class Network:
    """Computes values of a model for samples; ``variables`` are its trained weights, by initializer name.

    Raises UnsupportedError for an operator without a function, DependencyError without TensorFlow.
    """

    def __init__(self, model: ir.Model, role: str, *, train: bool = False) -> None:
        require_trainable(model, role)
        self.tf: Any = load_tensorflow("recovery")
        self.model = model
        weights = trained_weights(model) if train else {}
        self.variables: dict[str, Any] = {
            name: self.tf.Variable(array, trainable=True) for name, array in weights.items()
        }

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The trained weights as they are now."""
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def assign(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Give the trained weights other values."""
        for name, array in weights.items():
            self.variables[name].assign(array)

    def compute(
        self, inputs: Mapping[str, Tensor], wanted: Sequence[str], intercept: Intercept | None = None
    ) -> list[Activation]:
        """The values ``wanted``, by name, for inputs [samples, *shape]; only what they need is computed."""
        values: dict[ir.Value, Activation] = {}

        def keep(value: ir.Value, activation: Activation) -> None:
            values[value] = activation if intercept is None else intercept(value, activation)

        for value in self.model.graph.inputs:
            if (value.name or "") in inputs:
                keep(value, Activation(self.tf, shape_of(value), plain=inputs[value.name or ""]))
        for node in _needed(self.model, wanted):
            for read in node.inputs:
                if read is not None and read not in values:
                    keep(read, self._constant(read))
            operation = Operation(self.tf, node, [None if read is None else values[read] for read in node.inputs])
            result = OPS[node.op_type](operation)
            outputs = [result] if isinstance(result, Activation) else result
            for value, activation in zip(node.outputs, outputs, strict=False):
                keep(value, activation)
        by_name = {value.name or "": activation for value, activation in values.items()}
        return [by_name[name] for name in wanted]

    def _constant(self, value: ir.Value) -> Activation:
        variable = self.variables.get(value.name or "")
        if variable is not None:
            return Activation(self.tf, variable.shape, plain=variable[None], batched=False)
        array = constant_value(value)
        assert array is not None
        return Activation(self.tf, array.shape, plain=self.tf.constant(np.asarray(array)[None]), batched=False)


def _needed(model: ir.Model, wanted: Collection[str]) -> list[ir.Node]:
    """The nodes that compute ``wanted``, in the graph's order."""
    needed: list[ir.Node] = []
    reached: set[ir.Value] = set()
    for node in reversed(model.graph):
        if any(value in reached or (value.name or "") in wanted for value in node.outputs):
            needed.append(node)
            reached.update(value for value in node.inputs if value is not None)
    return needed[::-1]
