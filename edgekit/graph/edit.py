"""Small surgery on a graph that keeps names: of graph outputs always, of everything else where possible."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir


class GraphEditor:
    """Inserts, replaces and removes in one graph; collects every name in use when the first new one is wanted."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    @cached_property
    def _names(self) -> set[str]:
        names: set[str | None] = {value.name for node in self.graph.all_nodes() for value in node.outputs}
        for graph in (self.graph, *self.graph.subgraphs()):
            names.update(graph.initializers)
            names.update(value.name for value in graph.inputs)
        return {name for name in names if name}

    @cached_property
    def _node_names(self) -> set[str]:
        return {node.name for node in self.graph.all_nodes() if node.name}

    def unique_name(self, wanted: str) -> str:
        """``wanted``, or ``wanted_1``, ``wanted_2``... when a value of the graph has that name already; reserves it."""
        name = _first_free(wanted, self._names)
        self._names.add(name)
        return name

    def release_name(self, value: ir.Value) -> str:
        """The name of a value about to be replaced, free for what replaces it; a graph output keeps its own."""
        name = value.name or "value"
        if not value.is_graph_output():
            self._names.discard(name)
            value.name = f"{name}/replaced"
        return name

    def constant(self, array: np.ndarray[Any, Any], name: str) -> ir.Value:
        """A new initializer holding ``array``."""
        name = self.unique_name(name)
        tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(name=name, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def insert(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        like: ir.Value,
        shape: Sequence[int] | None = None,
    ) -> ir.Value:
        """The output of a new node before ``before``: named after ``like``, with its dtype and, unless given, shape."""
        dims = like.shape if shape is None else ir.Shape(shape)
        output = ir.Value(
            name=self.unique_name(like.name or op_type),
            shape=None if dims is None else ir.Shape(dims.dims),
            type=like.type,
        )
        node = ir.node(op_type, inputs, dict(attributes or {}), outputs=[output], name=self._node_name(before, op_type))
        self.graph.insert_before(before, node)
        return output

    def _node_name(self, anchor: ir.Node, op_type: str) -> str:
        name = _first_free(f"{anchor.name or anchor.op_type}/{op_type}", self._node_names)
        self._node_names.add(name)
        return name

    def rewrite(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
    ) -> ir.Value:
        """Replaces the one-output ``node`` by another that computes the same; the names of node and output stay."""
        old = node.outputs[0]
        new = self.insert(node, op_type, inputs, attributes, like=old)
        producer = new.producer()
        assert producer is not None
        producer.name = node.name
        self.replace(old, new, take_name=True)
        return new

    def replace(self, old: ir.Value, new: ir.Value, *, take_name: bool = False) -> bool:
        """Makes all users of ``old`` read ``new`` and removes what is then unused; False when nothing changed.

        A graph output keeps its name: ``new`` takes it, or, where ``new`` is an input, a constant or itself an output,
        an Identity stays between the two. ``take_name`` renames ``new`` (just inserted for ``old``) also when ``old``
        is no output.
        """
        if old.is_graph_output() and not _may_be_renamed(new):
            return self._replace_all_but_output(old, new)
        is_output, name = old.is_graph_output(), old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        if is_output or take_name:
            old.name = f"{name}/replaced"
            new.name = name
        self.remove_unused(old)
        return True

    def _replace_all_but_output(self, old: ir.Value, new: ir.Value) -> bool:
        producer = old.producer()
        assert producer is not None
        if producer.op_type == "Identity" and producer.inputs[0] is new:
            identity, changed = producer, False
        else:
            identity, changed = self._put_identity(producer, old, new), True
        for use in tuple(identity.outputs[0].uses()):
            use.node.replace_input_with(use.idx, new)
            changed = True
        if identity is not producer:
            self.remove_unused(old)
        return changed

    def _put_identity(self, before: ir.Node, old: ir.Value, new: ir.Value) -> ir.Node:
        """An Identity of ``new`` takes ``old``'s place and name, as a graph output too."""
        name = old.name
        output = self.insert(before, "Identity", [new], like=old)
        old.replace_all_uses_with(output, replace_graph_outputs=True)
        old.name, output.name = f"{name}/replaced", name
        identity = output.producer()
        assert identity is not None
        return identity

    def remove_unused(self, value: ir.Value | None) -> None:
        """Removes the producer (or initializer) of an unread value, and in turn whatever only that had read."""
        pending = [value]
        while pending:
            value = pending.pop()
            if value is None or value.uses() or value.is_graph_output():
                continue
            if value.is_initializer() and value.name in self.graph.initializers:
                assert value.name is not None
                del self.graph.initializers[value.name]
                self._names.discard(value.name)
                continue
            node = value.producer()
            if (
                node is None
                or node.graph is not self.graph
                or any(out.uses() or out.is_graph_output() for out in node.outputs)
            ):
                continue
            pending.extend(node.inputs)
            self.graph.remove(node, safe=True)

    def with_constant(
        self, node: ir.Node, index: int, array: np.ndarray[Any, Any], fallback_name: str = "constant"
    ) -> None:
        """Gives ``node`` another constant at ``index``; the name stays when nobody else reads the old constant."""
        old = node.inputs[index] if index < len(node.inputs) else None
        name = (old.name if old is not None else None) or fallback_name
        if old is not None and len(old.uses()) == 1 and not old.is_graph_output():
            node.replace_input_with(index, None)
            self.remove_unused(old)
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, self.constant(array, name))


def _first_free(wanted: str, taken: set[str]) -> str:
    if wanted not in taken:
        return wanted
    stem = re.sub(r"_\d+$", "", wanted) if re.search(r"_\d{1,4}$", wanted) else wanted
    number = 1
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def _may_be_renamed(value: ir.Value) -> bool:
    return not (value.is_graph_input() or value.is_initializer() or value.is_graph_output())


class RewritePass(ir.passes.InPlacePass):
    """A pass that offers every node of the main graph to ``rewrite``, in order; those inserted behind come later."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Runs over the graph; ``modified`` is whether any rewrite happened."""
        editor = GraphEditor(model.graph)
        modified = False
        for node in model.graph:
            if node.graph is model.graph:
                modified |= self.rewrite(node, editor)
        return ir.passes.PassResult(model, modified)

    @abstractmethod
    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """Rewrites the pattern that ends (or starts) at ``node``; returns whether it did."""
