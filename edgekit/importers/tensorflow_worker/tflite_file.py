"""Float TFLite files as ONNX: the flatbuffer made plain for tf2onnx, which mangles names and compressed weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit.errors import ModelError
from edgekit.importers.input_shapes import Shape
from edgekit.importers.tensorflow_worker.convert import TF2ONNX_OPSET, Interface, check, finish, random_inputs
from edgekit.importers.tensorflow_worker.names import unique
from edgekit.importers.tensorflow_worker.tf2onnx_fixes import run_tf2onnx
from edgekit.importers.tensorflow_worker.tflite_weights import has_data, is_integer_code, type_name, widen_constants


def convert_tflite(path: Path, input_shapes: Mapping[str, Shape], output: Path) -> None:
    """Write the main subgraph of ``path`` as ONNX to ``output``. The working directory takes a plain copy of the file.

    Open dimensions stay open: the caller fixes them, ``input_shapes`` is for formats that are traced.
    """
    del input_shapes
    interpreter = _load(path)
    from ai_edge_litert.schema_py_generated import ModelT

    model = ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    _refuse_quantized(model)
    interface = _interface(model, interpreter)
    widen_constants(model)
    names = _make_plain(model, interface)
    plain = Path("plain.tflite")
    plain.write_bytes(_packed(model))
    import tf2onnx

    proto = run_tf2onnx(lambda: tf2onnx.convert.from_tflite(str(plain), opset=TF2ONNX_OPSET)[0])
    _open_dimensions(proto, names, interpreter, interface)
    finish(proto, interface, names, output)
    samples = random_inputs(interface)
    check(output, samples, _run(_load(plain), interface, samples))


def _load(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        raise ModelError(
            f"LiteRT cannot load the file: {reason}; expected a whole TFLite model of builtin operators"
        ) from error
    return interpreter


def _refuse_quantized(model: Any) -> None:
    """Integer activations are refused. Integer weights alone (dynamic-range files) still make a float model."""
    for tensor in model.subgraphs[0].tensors:
        if is_integer_code(tensor) and not has_data(model, tensor):
            name, kind = _text(tensor.name), type_name(tensor).lower()
            raise ModelError(
                f'the model is already quantized (tensor "{name}" is {kind}); edgekit wants the float model'
            )


def _interface(model: Any, interpreter: Any) -> Interface:
    """Names from the signature of the main subgraph when there is exactly one, else from the tensors."""
    graph = model.subgraphs[0]
    signatures = [s for s in model.signatureDefs or [] if s.subgraphIndex == 0]
    inputs = {m.tensorIndex: _text(m.name) for m in signatures[0].inputs} if len(signatures) == 1 else {}
    outputs = {m.tensorIndex: _text(m.name) for m in signatures[0].outputs} if len(signatures) == 1 else {}
    input_names = unique([inputs.get(i) or _text(graph.tensors[i].name) or "input" for i in graph.inputs])
    output_names = unique(
        [outputs.get(i) or _text(graph.tensors[i].name) or "output" for i in graph.outputs], input_names
    )
    details = interpreter.get_input_details()
    specs = [
        (name, np.dtype(detail["dtype"]).name, tuple(int(size) for size in detail["shape"]))
        for name, detail in zip(input_names, details, strict=True)
    ]
    return Interface(tuple(specs), tuple(output_names))


def _make_plain(model: Any, interface: Interface) -> dict[str, str]:
    """Give every tensor a name that is unique and survives tf2onnx; returns these names for the interface's."""
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            tensor.name = f"graph_{number}_tensor_{index}".encode()
    graph = model.subgraphs[0]
    plain = [_text(graph.tensors[index].name) for index in (*graph.inputs, *graph.outputs)]
    source = [*(name for name, _, _ in interface.inputs), *interface.outputs]
    if len(set(plain)) < len(plain):
        raise ModelError("one tensor is both input and output, or two outputs; edgekit needs a tensor each")
    return dict(zip(plain, source, strict=True))


def _packed(model: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _open_dimensions(proto: onnx.ModelProto, names: Mapping[str, str], interpreter: Any, interface: Interface) -> None:
    """Declare the inputs as the file does: tf2onnx loses which dimensions are open."""
    signatures = {
        name: detail["shape_signature"]
        for (name, _, _), detail in zip(interface.inputs, interpreter.get_input_details(), strict=True)
    }
    for value in proto.graph.input:
        sizes = signatures[names[value.name]]
        value.type.tensor_type.ClearField("shape")
        value.type.tensor_type.shape.SetInParent()
        for size in sizes:
            dim = value.type.tensor_type.shape.dim.add()
            if size > 0:
                dim.dim_value = int(size)


def _run(interpreter: Any, interface: Interface, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    for (name, _, _), detail in zip(interface.inputs, interpreter.get_input_details(), strict=True):
        interpreter.set_tensor(detail["index"], samples[name])
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {
        name: interpreter.get_tensor(detail["index"]) for name, detail in zip(interface.outputs, details, strict=True)
    }


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""
