"""The inputs and outputs of a written file: integer interface, channels-last images, and their description."""

from collections import deque

import onnx_ir as ir

from edgekit.exporters import ExportedInterface, ExportOptions
from edgekit.exporters.onnx.qdq import dequantizer_of, per_tensor_params, quantizer_of
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import is_op, shape_of
from edgekit.interface import IoType, Layout, Precision, TensorSpec

_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)

# Operations whose second and third axes of four are the image's height and width only when it is NCHW.
_SPATIAL = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "InstanceNormalization",
        "MaxPool",
        "Resize",
        "SpaceToDepth",
    }
)
# Operations that say nothing about the layout and leave it as it is.
_LAYOUT_BLIND = frozenset(
    {
        "Add",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "Div",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mul",
        "Pad",
        "QuantizeLinear",
        "Relu",
        "Sigmoid",
        "Sub",
        "Tanh",
    }
)


def shape_boundary(model: ir.Model, options: ExportOptions) -> ExportedInterface:
    """Give the file the interface that ``options`` ask for, in place, and describe it; names and order stay."""
    editor = GraphEditor(model.graph)
    permutations: dict[str, tuple[int, ...]] = {}
    if options.layout is Layout.NHWC:
        permutations = _channels_last(model.graph, editor)
    params: dict[str, tuple[float, int]] = {}
    if options.io is IoType.INT8 and options.precision is Precision.INT8:
        params = _expose_input_codes(model.graph, editor) | _expose_output_codes(model.graph, editor)
    return ExportedInterface(
        inputs=tuple(_spec(value, permutations, params) for value in model.graph.inputs),
        outputs=tuple(_spec(value, permutations, params) for value in model.graph.outputs),
    )


def _spec(
    value: ir.Value, permutations: dict[str, tuple[int, ...]], params: dict[str, tuple[float, int]]
) -> TensorSpec:
    assert value.name is not None and value.dtype is not None
    scale, zero_point = params.get(value.name, (None, None))
    return TensorSpec(
        name=value.name,
        dtype=value.dtype.numpy().name,
        shape=shape_of(value),
        scale=scale,
        zero_point=zero_point,
        permutation=permutations.get(value.name),
    )


def _expose_input_codes(graph: ir.Graph, editor: GraphEditor) -> dict[str, tuple[float, int]]:
    """Given: x -> Q -> codes. Result: the codes are the input x."""
    exposed = {}
    for index, value in enumerate(list(graph.inputs)):
        quantizer = quantizer_of(value)
        params = per_tensor_params(quantizer) if quantizer is not None else None
        if quantizer is None or params is None:
            continue
        codes = quantizer.outputs[0]
        replacement = ir.Value(name=value.name, shape=value.shape, type=codes.type)
        codes.replace_all_uses_with(replacement, replace_graph_outputs=True)
        graph.remove(quantizer, safe=True)
        graph.inputs[index] = replacement
        exposed[value.name or ""] = (params.scale, params.zero_point)
    return exposed


def _expose_output_codes(graph: ir.Graph, editor: GraphEditor) -> dict[str, tuple[float, int]]:
    """Given: codes -> DQ -> y. Result: the codes are the output y; readers of y inside the graph keep the DQ."""
    exposed = {}
    for index, value in enumerate(list(graph.outputs)):
        dequantizer = dequantizer_of(value)
        params = per_tensor_params(dequantizer) if dequantizer is not None else None
        codes = dequantizer.inputs[0] if dequantizer is not None else None
        if dequantizer is None or params is None or codes is None or codes.is_graph_input() or codes.is_graph_output():
            continue
        name = value.name or ""
        graph.outputs[index] = codes
        value.name = editor.unique_name(f"{name}_dequantized")
        codes.name = name
        editor.remove_unused(value)
        exposed[name] = (params.scale, params.zero_point)
    return exposed


def _channels_last(graph: ir.Graph, editor: GraphEditor) -> dict[str, tuple[int, ...]]:
    """Turn NCHW images at the boundary into NHWC by a Transpose inside; what is no image stays."""
    moved: dict[str, tuple[int, ...]] = {}
    for index, value in enumerate(list(graph.inputs)):
        if len(shape_of(value)) == 4 and _meets_spatial(value, forward=True):
            moved[value.name or ""] = _TO_NHWC
            _transpose_input(graph, index, editor)
    for index, value in enumerate(list(graph.outputs)):
        if len(shape_of(value)) == 4 and not value.is_graph_input() and _meets_spatial(value, forward=False):
            moved[value.name or ""] = _TO_NHWC
            _transpose_output(graph, index, editor)
    return moved


def _meets_spatial(value: ir.Value, *, forward: bool) -> bool:
    """Whether a spatial operation is the first on the way from ``value`` that knows about layouts."""
    pending, seen = deque([value]), {value}
    while pending:
        current = pending.popleft()
        for node in _neighbours(current, forward):
            if is_op(node, *_SPATIAL):
                return True
            if is_op(node, *_LAYOUT_BLIND):
                following = node.outputs if forward else node.inputs
                fresh = [v for v in following if v is not None and v not in seen and _is_image(v)]
                seen.update(fresh)
                pending.extend(fresh)
    return False


def _neighbours(value: ir.Value, forward: bool) -> list[ir.Node]:
    if forward:
        return [use.node for use in value.uses() if use.idx == 0 or is_op(use.node, *_LAYOUT_BLIND)]
    producer = value.producer()
    return [producer] if producer is not None else []


def _is_image(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) == 4


def _transpose_input(graph: ir.Graph, index: int, editor: GraphEditor) -> None:
    """Given: x [NCHW] -> [Q ->] op. Result: x [NHWC] -> [Q ->] Transpose -> op: a byte per element moves, not four."""
    old = graph.inputs[index]
    quantizer = quantizer_of(old)
    shape = shape_of(old)
    new = ir.Value(name=old.name, shape=ir.Shape([shape[axis] for axis in _TO_NHWC]), type=old.type)
    inner = old if quantizer is None else quantizer.outputs[0]
    uses = tuple(inner.uses())
    readers = {use.node for use in uses}
    first = next(node for node in graph if node in readers)
    graph.inputs[index] = new
    if quantizer is not None:
        quantizer.replace_input_with(0, new)
        inner.shape = new.shape
    source = new if quantizer is None else inner
    transposed = editor.insert(first, "Transpose", [source], {"perm": list(_TO_NCHW)}, like=source, shape=shape)
    for use in uses:
        use.node.replace_input_with(use.idx, transposed)


def _transpose_output(graph: ir.Graph, index: int, editor: GraphEditor) -> None:
    """Given: codes -> DQ -> y, or op -> y. Result: codes -> Transpose -> DQ -> y, or op -> Transpose -> y."""
    old = graph.outputs[index]
    name, shape = old.name or "", shape_of(old)
    last = ir.Shape([shape[axis] for axis in _TO_NHWC])
    dequantizer = dequantizer_of(old)
    attributes = {"perm": list(_TO_NHWC)}
    old.name = editor.unique_name(f"{name}_nchw")
    if dequantizer is None:
        new = ir.Value(name=name, shape=last, type=old.type)
        graph.append(ir.node("Transpose", [old], attributes, outputs=[new], name=f"{name}_transpose"))
    else:
        codes, *params = dequantizer.inputs
        assert codes is not None
        moved = ir.Value(name=editor.unique_name(f"{name}_nhwc"), shape=last, type=codes.type)
        new = ir.Value(name=name, shape=last, type=old.type)
        graph.append(ir.node("Transpose", [codes], attributes, outputs=[moved], name=f"{name}_transpose"))
        graph.append(ir.node("DequantizeLinear", [moved, *params], outputs=[new], name=f"{name}_dequantize"))
    graph.outputs[index] = new
    editor.remove_unused(old)
