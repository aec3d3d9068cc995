"""What every pass leaves behind for the last ones: duplicates, dead nodes, missing names."""

import hashlib

import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.graph.evaluate import is_deterministic


class RemoveUnused(ir.passes.InPlacePass):
    """Removes nodes and initializers that no graph output depends on.

    Given:
        y = Relu(x);  unused = Exp(x)
    Result:
        y = Relu(x)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Goes through the main graph backwards."""
        graph, modified = model.graph, False
        for node in reversed(list(graph)):
            if not any(value.uses() or value.is_graph_output() for value in node.outputs):
                graph.remove(node, safe=True)
                modified = True
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[name]
                modified = True
        return ir.passes.PassResult(model, modified)


class MergeDuplicates(ir.passes.InPlacePass):
    """One initializer for equal constants, one node for equal computations.

    Given:
        a = Transpose(x);  b = Transpose(x);  Add(a, b)
    Result:
        a = Transpose(x);  Add(a, a)

    Two graph outputs stay two: only the first node of a pair may be an output.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Initializers first, so that nodes which read equal constants become equal."""
        modified = _merge_initializers(model.graph)
        editor = GraphEditor(model.graph)
        first: dict[object, ir.Node] = {}
        for node in list(model.graph):
            key = _key(node)
            if key is None:
                continue
            other = first.setdefault(key, node)
            if other is node or any(value.is_graph_output() for value in node.outputs):
                continue
            for old, new in zip(list(node.outputs), other.outputs, strict=True):
                editor.replace(old, new)
            modified = True
        return ir.passes.PassResult(model, modified)


def _key(node: ir.Node) -> object | None:
    if not is_deterministic(node):
        return None
    attributes = []
    for name in sorted(node.attributes):
        attribute = node.attributes[name]
        if attribute.is_ref() or attribute.type in (ir.AttributeType.TENSOR, ir.AttributeType.SPARSE_TENSOR):
            return None
        value = attribute.value
        attributes.append((name, tuple(value) if isinstance(value, list | tuple) else value))
    return (
        node.op_identifier(),
        tuple(attributes),
        tuple(map(id, node.inputs)),
        tuple(bool(v.name) for v in node.outputs),
    )


def _merge_initializers(graph: ir.Graph) -> bool:
    by_size: dict[object, list[ir.Value]] = {}
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype != ir.DataType.STRING:
            by_size.setdefault((tensor.dtype, tuple(tensor.shape)), []).append(value)
    modified = False
    first: dict[object, ir.Value] = {}
    for kind, values in by_size.items():
        # Only what has a twin in dtype and shape is read and hashed.
        for value in values if len(values) > 1 else ():
            assert value.const_value is not None
            digest = hashlib.sha256(value.const_value.tobytes()).digest()
            other = first.setdefault((kind, digest), value)
            if other is not value and not value.is_graph_output():
                value.replace_all_uses_with(other)
                del graph.initializers[value.name or ""]
                modified = True
    return modified


class NameNodes(ir.passes.InPlacePass):
    """Every node gets a name of its own: what it had, else one made of its output's.

    Given:
        Relu(x) -> y, without a name
    Result:
        Relu(x) -> y, named "y"
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Goes through subgraphs too."""
        taken: set[str] = set()
        modified = False
        for node in model.graph.all_nodes():
            wanted = node.name or next((value.name for value in node.outputs if value.name), None) or node.op_type
            name, number = wanted, 1
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            taken.add(name)
            modified |= name != node.name
            node.name = name
        return ir.passes.PassResult(model, modified)
