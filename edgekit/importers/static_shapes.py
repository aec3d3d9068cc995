"""Static shapes for every value: ONNX's shape inference, and folding of the shape computations it cannot follow."""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import onnx

from edgekit.errors import ModelError
from edgekit.graph import IR_VERSION, OPSET
from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.graph.shapes import SHAPE_OF_FIRST
from edgekit.importers.loops import unroll_loops
from edgekit.importers.skeleton import subgraphs

_MAX_ELEMENTS = 65536
"""Shape computations are small; anything larger is data and none of this module's business."""

_NOT_FOLDED = {
    "If",
    "Loop",
    "Scan",
    "Constant",
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
}
_GROWING = {"ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Pad", "OneHot", "EyeLike", "Upsample"}


def make_static(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto``, whose inputs are static, with a static shape and a type on every value that has one.

    Raises ModelError when the shape of an output depends on data.
    """
    proto = _infer(proto)
    while not _is_static(proto.graph) or any(node.op_type in ("If", "Loop") for node in proto.graph.node):
        folded = _fold_shapes(proto.graph) + _inline_constant_ifs(proto.graph) + unroll_loops(proto.graph)
        if not folded:
            break
        proto = _infer(proto)
    for value in proto.graph.output:
        _check_output(value, proto)
    return proto


def _infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    for graph in subgraphs(proto.graph):
        del graph.value_info[:]
    try:
        return _by_onnx(proto, strict=False)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"types or shapes contradict each other: {reason}; export the model again") from error


def _by_onnx(proto: onnx.ModelProto, *, strict: bool) -> onnx.ModelProto:
    """ONNX's inference, with an Identity in place of every operator that it knows no shape of."""
    unknown = {index: node.op_type for index, node in enumerate(_nodes(proto)) if node.op_type in SHAPE_OF_FIRST}
    _rename(proto, dict.fromkeys(unknown, "Identity"))
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=strict, data_prop=True)
    finally:
        _rename(proto, unknown)
    _rename(inferred, unknown)
    return inferred


def _nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for graph in subgraphs(proto.graph) for node in graph.node]


def _rename(proto: onnx.ModelProto, op_types: Mapping[int, str]) -> None:
    if op_types:
        for index, node in enumerate(_nodes(proto)):
            node.op_type = op_types.get(index, node.op_type)


def _is_static(graph: onnx.GraphProto) -> bool:
    known = {value.name for value in graph.value_info if _static_shape(value) is not None}
    known.update(value.name for value in graph.output if _static_shape(value) is not None)
    return all(name in known for node in graph.node for name in node.output if name)


def _static_shape(value: onnx.ValueInfoProto) -> list[int] | None:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.elem_type or not tensor.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim):
        return None
    return [dim.dim_value for dim in tensor.shape.dim]


def _check_output(value: onnx.ValueInfoProto, proto: onnx.ModelProto) -> None:
    if _static_shape(value) is not None:
        return
    try:
        _by_onnx(proto, strict=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f'the shape of output "{value.name}" cannot be inferred: {reason}') from error
    for node in proto.graph.node:
        if node.op_type == "If":
            raise ModelError(
                f"If (node '{node.name or node.output[0]}') chooses by '{node.input[0]}', which only running the model "
                "tells; expected one graph: export the model with the branch that you want"
            )
    raise ModelError(
        f'the shape of output "{value.name}" depends on the data; edgekit needs static shapes: '
        "export the model without this output (or without its post-processing)"
    )


def _fold_shapes(graph: onnx.GraphProto) -> int:
    """Replace small nodes that depend on constants and static shapes only; returns how many."""
    shapes = {
        value.name: shape for value in (*graph.input, *graph.value_info) if (shape := _static_shape(value)) is not None
    }
    small = {tensor.name: tensor for tensor in graph.initializer}
    foldable: list[onnx.NodeProto] = []
    constant = set(small)
    for node in graph.node:
        if _is_foldable(node, constant, shapes):
            foldable.append(node)
            constant.update(node.output)
    if not foldable:
        return 0
    results = _evaluate(foldable, small, shapes)
    for name, array in results.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    done = [
        index
        for index, node in enumerate(graph.node)
        if node.output and all(name in results for name in node.output if name)
    ]
    for index in reversed(done):
        del graph.node[index]
    return len(done)


def _is_foldable(node: onnx.NodeProto, constant: Container[str], shapes: dict[str, list[int]]) -> bool:
    if node.op_type in _NOT_FOLDED:
        return node.op_type == "Constant"
    if node.op_type in ("Shape", "Size"):
        return node.input[0] in shapes or node.input[0] in constant
    if not node.input or not all(name in constant for name in node.input if name):
        return False
    known = [shapes[name] for name in node.output if name in shapes]
    if len(known) == sum(bool(name) for name in node.output):
        return all(np.prod(shape, dtype=np.float64) <= _MAX_ELEMENTS for shape in known)
    return node.op_type not in _GROWING


def _evaluate(
    nodes: list[onnx.NodeProto], constants: dict[str, onnx.TensorProto], shapes: dict[str, list[int]]
) -> dict[str, np.ndarray]:
    """The outputs of ``nodes`` by ONNX Runtime; nothing when it refuses. Shape and Size need only a shape."""
    ort_errors = load_onnxruntime().capi.onnxruntime_pybind11_state

    used = {name for node in nodes for name in node.input}
    made = [name for node in nodes for name in node.output if name]
    stubs = sorted(name for name in used if name in shapes and name not in constants and name not in made)
    graph = onnx.helper.make_graph(
        [
            _shape_of_static(node, shapes) if node.op_type in ("Shape", "Size") and node.input[0] in stubs else node
            for node in nodes
        ],
        "shape_computations",
        [],
        [onnx.ValueInfoProto(name=name) for name in made],
        [tensor for name, tensor in constants.items() if name in used],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        outputs = _session(model).run(made, {})
    except (
        ort_errors.Fail,
        ort_errors.InvalidArgument,
        ort_errors.InvalidGraph,
        ort_errors.NotImplemented,
        ort_errors.RuntimeException,
        ort_errors.EPFail,
    ) as error:
        del error
        return {}
    return {name: np.asarray(array) for name, array in zip(made, outputs, strict=True)}


def _session(model: onnx.ModelProto) -> Any:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _shape_of_static(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> onnx.NodeProto:
    """``node``, a Shape or Size of a value with a known shape, as a Constant."""
    shape = np.array(shapes[node.input[0]], np.int64)
    if node.op_type == "Size":
        result = np.array(shape.prod(), np.int64)
    else:
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        result = shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
    return onnx.helper.make_node("Constant", [], [node.output[0]], value=onnx.numpy_helper.from_array(result))


def _inline_constant_ifs(graph: onnx.GraphProto) -> int:
    """Replace every If whose condition is an initializer by the branch that it takes; returns how many."""
    conditions = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    inlined = 0
    for index, node in enumerate(graph.node):
        if node.op_type != "If" or node.input[0] not in conditions:
            nodes.append(node)
            continue
        taken = bool(onnx.numpy_helper.to_array(conditions[node.input[0]]).reshape(-1)[0])
        branch = next(a.g for a in node.attribute if a.name == ("then_branch" if taken else "else_branch"))
        nodes.extend(_branch_nodes(graph, branch, node, f"{node.name or 'If'}_{index}/"))
        inlined += 1
    if inlined:
        del graph.node[:]
        graph.node.extend(nodes)
    return inlined


def _branch_nodes(
    graph: onnx.GraphProto, branch: onnx.GraphProto, node: onnx.NodeProto, prefix: str
) -> list[onnx.NodeProto]:
    """The nodes of ``branch`` under names that cannot clash, then an Identity per output of the If ``node``."""
    own = {name for inner in branch.node for name in inner.output if name}
    own.update(tensor.name for tensor in branch.initializer)
    renamed = {name: prefix + name for name in own}
    for tensor in branch.initializer:
        tensor.name = renamed[tensor.name]
        graph.initializer.append(tensor)
    for nested in subgraphs(branch):
        for inner in nested.node:
            inner.input[:] = [renamed.get(name, name) for name in inner.input]
            inner.output[:] = [renamed.get(name, name) for name in inner.output]
            inner.name = prefix + inner.name if inner.name else ""
    results = [renamed.get(value.name, value.name) for value in branch.output]
    identities = [
        onnx.helper.make_node("Identity", [result], [name])
        for result, name in zip(results, node.output, strict=True)
        if name
    ]
    return [*branch.node, *identities]
