"""From any ONNX model, as a file or a converter gave it, to the form that the rest of edgekit takes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnx.inliner
import onnx_ir as ir

from edgekit.errors import ModelError, UnsupportedError
from edgekit.graph import IR_VERSION
from edgekit.importers.floats import to_float32
from edgekit.importers.input_shapes import Dim, Shape, resolve_input_shapes
from edgekit.importers.opset import sort_nodes, source_opset, to_pinned_opset
from edgekit.importers.skeleton import Skeleton, attach_weights, strip_weights, subgraphs
from edgekit.importers.static_shapes import make_static

_QUANTIZED_OPS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}


def conform(proto: onnx.ModelProto, folder: Path, input_shapes: Mapping[str, Shape] | None) -> ir.Model:
    """``proto`` (consumed) in the form that ImportedModel promises; ``folder`` holds its external data.

    Raises ModelError for damaged, quantized or dynamic models and UnsupportedError for operators of other domains.
    """
    _check_text(proto)
    skeleton = strip_weights(proto, folder)
    proto = skeleton.proto
    _normalize_domains(proto)
    opset = source_opset(proto)
    _refuse_quantized(proto)
    proto = _inline_functions(proto)
    refuse_unknown_operators(proto)
    _keep_default_domain(proto)
    proto = sort_nodes(proto)
    _check(proto)
    skeleton = to_float32(Skeleton(proto, skeleton.weights))
    proto = skeleton.proto
    _fix_input_shapes(proto, skeleton, input_shapes)
    proto = make_static(to_pinned_opset(proto, opset))
    model = attach_weights(Skeleton(proto, skeleton.weights))
    model.ir_version = IR_VERSION
    return model


def _check_text(proto: onnx.ModelProto) -> None:
    """Names that are not UTF-8 come out of protobuf as bytes, and would trip everything later."""
    texts: list[str | bytes] = [imported.domain for imported in proto.opset_import]
    for node in _nodes(proto):
        texts += [node.op_type, node.domain, node.name, *node.input, *node.output]
        texts += [attribute.name for attribute in node.attribute]
    for graph in subgraphs(proto.graph):
        texts += [named.name for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer)]
    if any(isinstance(text, bytes) for text in texts):
        raise ModelError("names in the model are not text (UTF-8); the file is damaged")


def _normalize_domains(proto: onnx.ModelProto) -> None:
    for node in _nodes(proto):
        if node.domain == "ai.onnx":
            node.domain = ""
    for imported in proto.opset_import:
        if imported.domain == "ai.onnx":
            imported.domain = ""
    del proto.training_info[:]


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in subgraphs(proto.graph):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def _refuse_quantized(proto: onnx.ModelProto) -> None:
    names = [
        f"{node.op_type} (node {_label(node)})"
        for node in _nodes(proto)
        if node.op_type in _QUANTIZED_OPS or node.op_type.startswith("QLinear")
    ]
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ModelError(f"the model is already quantized: {names[0]}{more}; edgekit wants the float model")


def _inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    if not proto.functions:
        return proto
    try:
        inlined: onnx.ModelProto = onnx.inliner.inline_local_functions(proto, convert_version=True)
        return inlined
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"the model's functions cannot be inlined: {_one_line(error)}; export it without functions"
        ) from error


def refuse_unknown_operators(proto: onnx.ModelProto) -> None:
    """Raise UnsupportedError naming every node whose operator is not standard ONNX."""
    unknown = [
        f"{f'{node.domain}::' if node.domain else ''}{node.op_type} (node {_label(node)})"
        for node in _nodes(proto)
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type)
    ]
    if unknown:
        raise UnsupportedError(
            f"operators outside standard ONNX: {', '.join(unknown)}; replace them in the source model or leave them out"
        )


def _keep_default_domain(proto: onnx.ModelProto) -> None:
    default = [imported for imported in proto.opset_import if not imported.domain]
    del proto.opset_import[:]
    proto.opset_import.extend(default[:1])


def _label(node: onnx.NodeProto) -> str:
    return repr(node.name or (node.output[0] if node.output else ""))


def _check(proto: onnx.ModelProto) -> None:
    """The ONNX checker's opinion. Too new an IR version alone is no reason to refuse: what matters is the opset."""
    proto.ir_version = min(max(proto.ir_version, 4), onnx.IR_VERSION)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise ModelError(f"is not a valid ONNX model: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300].rstrip(". ") or type(error).__name__


def _fix_input_shapes(proto: onnx.ModelProto, skeleton: Skeleton, requested: Mapping[str, Shape] | None) -> None:
    """Give every input its static shape and forget what was inferred from the dynamic ones."""
    inputs = [value for value in proto.graph.input if value.name not in skeleton.weights]
    for value in (*inputs, *proto.graph.output):
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            kind = value.type.WhichOneof("value").removesuffix("_type")
            raise ModelError(f'"{value.name}" is a {kind}; edgekit takes models whose inputs and outputs are tensors')
    shapes = resolve_input_shapes({value.name: _declared(value) for value in inputs}, requested)
    for value in inputs:
        value.type.tensor_type.ClearField("shape")
        for size in shapes[value.name]:
            value.type.tensor_type.shape.dim.add().dim_value = size
        if not shapes[value.name]:
            value.type.tensor_type.shape.SetInParent()
    for graph in subgraphs(proto.graph):
        del graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")


def _declared(value: onnx.ValueInfoProto) -> list[Dim] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else _symbol(dim.dim_param) for dim in tensor.shape.dim]


def _symbol(name: str) -> str | None:
    """The name of an open dimension; ``?``, ``-1`` and ``None`` stand for several that have nothing in common."""
    return name if name.isascii() and any(map(str.isalpha, name)) and name != "None" else None
