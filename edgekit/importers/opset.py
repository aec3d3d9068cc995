"""Bringing a model to edgekit's opset: upgrades by ONNX's converter, downgrades only where nothing can change."""

from collections.abc import Iterator, Sequence

import onnx
import onnx.inliner
import onnx_ir as ir
from onnx_ir.passes.common import TopologicalSortPass

from edgekit.errors import ModelError, UnsupportedError
from edgekit.graph import OPSET
from edgekit.importers.skeleton import subgraphs

_OLDEST = 7
"""Before opset 7 broadcasting was an attribute; ONNX's converter handles only part of that."""

_RESIZE_CHANGED = 11
"""Since this opset Resize samples at pixel centres unless told otherwise."""


def source_opset(proto: onnx.ModelProto) -> int:
    """The default-domain opset of ``proto``. Raises ModelError when it is missing, too old or newer than onnx knows."""
    versions = [imported.version for imported in proto.opset_import if imported.domain == ""]
    if not versions:
        raise ModelError("the model imports no ONNX opset; export it again with opset 9 or newer")
    newest = onnx.defs.onnx_opset_version()
    if versions[0] > newest:
        raise ModelError(f"opset {versions[0]} is newer than the installed onnx knows ({newest}): pip install -U onnx")
    if versions[0] < _OLDEST:
        raise ModelError(f"opset {versions[0]} is too old; export the model again with opset 9 or newer")
    return int(versions[0])


def sort_nodes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with its nodes in topological order, which the specification demands and some writers forget."""
    if _is_sorted(proto.graph):
        return proto
    try:
        model = TopologicalSortPass()(ir.from_proto(proto)).model
    except (ValueError, ir.passes.PassError) as error:
        raise ModelError("the graph has a cycle; the file is damaged") from error
    return ir.to_proto(model)


def to_pinned_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``proto`` at OPSET. Raises UnsupportedError naming the nodes that have no equivalent there."""
    if opset < OPSET:
        return _upgrade(proto, opset)
    if opset > OPSET:
        proto = _restamp(proto, opset)
    return proto


def _upgrade(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        upgraded = onnx.version_converter.convert_version(proto, OPSET)
    except (onnx.version_converter.ConvertError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"cannot go from opset {opset} to {OPSET}: {reason}; export it with opset {OPSET}") from error
    if opset < _RESIZE_CHANGED:
        _keep_old_resize(upgraded)
    return upgraded


def _keep_old_resize(proto: onnx.ModelProto) -> None:
    """Say how Upsample and Resize sampled before opset 11; ONNX's converter leaves them the new defaults."""
    for graph in subgraphs(proto.graph):
        for node in graph.node:
            if node.op_type == "Resize" and not any(a.name == "coordinate_transformation_mode" for a in node.attribute):
                node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
                node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))


def _restamp(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    functions = sorted({node.op_type for node in _changed_nodes(proto, opset) if _is_function(node, opset)})
    if functions:
        proto = _inline_operators(proto, functions)
    left = [f"{node.op_type} (node {node.name or node.output[0]!r})" for node in _changed_nodes(proto, opset)]
    if left:
        raise UnsupportedError(
            f"opset {opset} operators that opset {OPSET} cannot express: {', '.join(left)}; "
            f"export the model with opset {OPSET}"
        )
    for graph in subgraphs(proto.graph):
        for node in graph.node:
            _drop_new_defaults(node, opset)
    for imported in proto.opset_import:
        if imported.domain == "":
            imported.version = OPSET
    return proto


def _inline_operators(proto: onnx.ModelProto, operators: Sequence[str]) -> onnx.ModelProto:
    """Replace ``operators`` by their definitions, which may depend on their inputs' types."""
    for graph in subgraphs(proto.graph):
        for node in graph.node:
            if node.op_type in operators:
                _spell_out_defaults(node)
    try:
        proto = onnx.shape_inference.infer_shapes(proto)
        proto.graph.value_info.extend(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in proto.graph.initializer
        )
        selected = [("", name) for name in operators]
        inlined: onnx.ModelProto = onnx.inliner.inline_selected_functions(proto, selected, inline_schema_functions=True)
        return inlined
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot expand {', '.join(operators)}: {reason}; export it with opset {OPSET}") from error


def _spell_out_defaults(node: onnx.NodeProto) -> None:
    """Give ``node`` every attribute that has a default: ONNX's inliner leaves references to absent ones dangling."""
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type).attributes.items():
        if name not in given and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _is_function(node: onnx.NodeProto, opset: int) -> bool:
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def _changed_nodes(proto: onnx.ModelProto, opset: int) -> Iterator[onnx.NodeProto]:
    """The nodes that mean something else at OPSET, or nothing."""
    for graph in subgraphs(proto.graph):
        yield from (node for node in graph.node if not _means_the_same(node, opset))


def _means_the_same(node: onnx.NodeProto, opset: int) -> bool:
    newer = onnx.defs.get_schema(node.op_type, opset, "")
    if newer.since_version <= OPSET:
        return True
    try:
        pinned = onnx.defs.get_schema(node.op_type, OPSET, "")
    except onnx.defs.SchemaError:
        return False
    inputs, outputs = len(node.input), len(node.output)
    return (
        _parameters(newer.inputs, inputs) == _parameters(pinned.inputs, inputs)
        and _parameters(newer.outputs, outputs) == _parameters(pinned.outputs, outputs)
        and _same_attributes(node, newer, pinned)
    )


def _parameters(parameters: Sequence[onnx.defs.OpSchema.FormalParameter], used: int) -> list[tuple[str, object]]:
    return [(parameter.name, parameter.option) for parameter in parameters[:used]]


def _same_attributes(node: onnx.NodeProto, newer: onnx.defs.OpSchema, pinned: onnx.defs.OpSchema) -> bool:
    given = {attribute.name: attribute for attribute in node.attribute}
    for name, attribute in newer.attributes.items():
        if name not in pinned.attributes:
            if name in given and not _is_default(given[name], attribute):
                return False
        elif name not in given and not _equal_defaults(attribute, pinned.attributes[name]):
            return False
    return all(
        name in newer.attributes or name in given or not attribute.required
        for name, attribute in pinned.attributes.items()
    )


def _is_default(given: onnx.AttributeProto, attribute: onnx.defs.OpSchema.Attribute) -> bool:
    default = attribute.default_value
    return bool(default.name) and onnx.helper.get_attribute_value(given) == onnx.helper.get_attribute_value(default)


def _equal_defaults(a: onnx.defs.OpSchema.Attribute, b: onnx.defs.OpSchema.Attribute) -> bool:
    return bool(a.default_value.SerializeToString() == b.default_value.SerializeToString())


def _drop_new_defaults(node: onnx.NodeProto, opset: int) -> None:
    """Remove attributes that OPSET does not know; they are at their defaults, or the node would have been refused."""
    if onnx.defs.get_schema(node.op_type, opset, "").since_version <= OPSET:
        return
    known = onnx.defs.get_schema(node.op_type, OPSET, "").attributes
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name not in known:
            del node.attribute[index]


def _is_sorted(graph: onnx.GraphProto) -> bool:
    made_here = {name for node in graph.node for name in node.output if name}
    seen: set[str] = set()
    for node in graph.node:
        used = set(node.input)
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                used.update(name for inner in subgraphs(nested) for n in inner.node for name in n.input)
        if any(name in made_here and name not in seen for name in used):
            return False
        seen.update(node.output)
    return True
