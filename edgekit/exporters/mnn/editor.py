"""Small edits on a float graph: new constants and nodes under free names, replaced values that keep their names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, np.dtype[Any]]


class GraphEditor:
    """Rewrites one graph in place. Every value it makes carries its shape and dtype."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._names = {value.name for value in (*graph.inputs, *graph.initializers.values())}
        for node in graph:
            self._names.update((node.name, *(value.name for value in node.outputs)))

    def unique(self, name: str) -> str:
        """``name``, or the first free ``name_1``, ``name_2``, ..."""
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    def constant(self, array: Array, name: str) -> ir.Value:
        """A new initializer."""
        unique = self.unique(name)
        tensor = ir.tensor(array, name=unique)
        value = ir.Value(name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def integers(self, numbers: Sequence[int], name: str) -> ir.Value:
        """A new int64 vector."""
        return self.constant(np.asarray(numbers, np.int64), name)

    def node(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        shape: Sequence[int],
        name: str,
    ) -> ir.Value:
        """The float output of a new node put before ``before``: of ``shape``, called ``name`` or something like it."""
        output = ir.Value(name=self.unique(name), shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        made = ir.node(
            op_type, inputs, dict(attributes or {}), outputs=[output], name=self.unique(f"{output.name}_node")
        )
        self.graph.insert_before(before, made)
        return output

    def reshape(self, before: ir.Node, value: ir.Value, shape: Sequence[int], name: str) -> ir.Value:
        """``value`` with ``shape``; a Reshape of a Reshape of ``shape`` gives what was before."""
        producer = value.producer()
        if producer is not None and producer.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
            source = producer.inputs[0]
            if source is not None and static_shape(source) == tuple(shape):
                return source
        return self.node(
            before, "Reshape", [value, self.integers(shape, f"{name}_shape")], {"allowzero": 0}, shape=shape, name=name
        )

    def replace(self, value: ir.Value, replacement: ir.Value) -> None:
        """Let every user of ``value``, graph outputs included, use ``replacement``, which takes over the name."""
        name = value.name
        value.name = self.unique(f"{name}_replaced")
        replacement.name = name
        value.replace_all_uses_with(replacement, replace_graph_outputs=True)
        producer = value.producer()
        if producer is not None:
            self.prune(producer)

    def prune(self, node: ir.Node) -> None:
        """Remove ``node`` if nobody uses its outputs, and then whatever only it used."""
        if node.graph is None or any(value.uses() or value.is_graph_output() for value in node.outputs):
            return
        producers = [value.producer() for value in node.inputs if value is not None]
        self.graph.remove(node, safe=True)
        for producer in producers:
            if producer is not None:
                self.prune(producer)

    def drop_unused(self) -> None:
        """Remove nodes and initializers that no graph output depends on."""
        for node in reversed(self.graph):
            self.prune(node)
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self.graph.initializers[name]


def static_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of a value of the canonical graph, where every dimension is a number."""
    assert value.shape is not None
    return tuple(int(size) for size in value.shape.numpy())


def constant_array(value: ir.Value | None) -> Array | None:
    """What an initializer holds, or None for any other value."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def only_user(value: ir.Value) -> ir.Node | None:
    """The node that alone uses ``value``, or None when there are others or a graph output does."""
    users = list(value.uses())
    return users[0].node if len(users) == 1 and not value.is_graph_output() else None


def fused_activation(value: ir.Value) -> ir.Node | None:
    """The Relu or Clip that alone uses ``value``."""
    user = only_user(value)
    return user if user is not None and user.op_type in ("Relu", "Clip") and user.inputs[0] is value else None
