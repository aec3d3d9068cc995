"""SavedModel folders as ONNX: TensorFlow 2's loader first, TensorFlow 1's for what it cannot read."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import ModelError
from edgekit.importers.input_shapes import Shape, resolve_input_shapes
from edgekit.importers.tensorflow_worker.allowed_ops import refuse_unsafe
from edgekit.importers.tensorflow_worker.convert import Interface, convert_function


def convert_saved_model(folder: Path, input_shapes: Mapping[str, Shape], output: Path) -> None:
    """Write the serving signature of ``folder`` as ONNX to ``output``."""
    meta_graph = _read_meta_graph(folder)
    key = _serving_key(meta_graph.signature_def)
    signature = meta_graph.signature_def[key]
    function = _load_function(folder, key, signature, list(meta_graph.meta_info_def.tags))
    import tensorflow as tf

    declared = {name: _dims(info.tensor_shape) for name, info in signature.inputs.items()}
    shapes = resolve_input_shapes(declared, input_shapes)
    dtypes = {name: tf.dtypes.as_dtype(info.dtype).name for name, info in signature.inputs.items()}
    inputs = tuple((name, dtypes[name], shapes[name]) for name in sorted(declared, key=_natural))
    outputs = tuple(sorted(signature.outputs, key=_natural))

    def positional(*tensors: object) -> list[object]:
        results = function(**{name: tensor for (name, _, _), tensor in zip(inputs, tensors, strict=True)})
        return [results[name] for name in outputs]

    convert_function(positional, Interface(inputs, outputs), output)


def _read_meta_graph(folder: Path) -> Any:
    """The MetaGraphDef that serves, refused when it does more than compute. Nothing of it runs here."""
    from google.protobuf import text_format  # type: ignore[import-untyped]
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    binary = folder / "saved_model.pb"
    try:
        if binary.is_file():
            saved_model.ParseFromString(binary.read_bytes())
        else:
            text_format.Parse((folder / "saved_model.pbtxt").read_text(encoding="utf-8"), saved_model)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError("saved_model.pb is damaged or truncated; copy the SavedModel again") from error
    graphs = saved_model.meta_graphs
    if not graphs:
        raise ModelError("saved_model.pb holds no graph; it is damaged, or was not written by TensorFlow")
    meta_graph = next((graph for graph in graphs if "serve" in graph.meta_info_def.tags), graphs[0])
    refuse_unsafe(meta_graph, meta_graph.object_graph_def.concrete_functions)
    return meta_graph


def _serving_key(signatures: Mapping[str, Any]) -> str:
    """``serving_default``, else ``serve``, else the only signature."""
    keys = [key for key in signatures if key != "__saved_model_init_op" and signatures[key].outputs]
    for key in ("serving_default", "serve"):
        if key in keys:
            return key
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise ModelError("the SavedModel has no signature; save it with model.export(dir) or signatures=…")
    listed = ", ".join(f'"{key}"' for key in sorted(keys))
    raise ModelError(
        f'the SavedModel has several signatures ({listed}) and none is "serving_default"; save it with one'
    )


def _dims(shape: Any) -> list[int] | None:
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts ``output_10`` after ``output_9``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _load_function(folder: Path, key: str, signature: Any, tags: list[str]) -> Callable[..., Mapping[str, object]]:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder), tags=tags)
        function = loaded.signatures[key]
        function.edgekit_owner = loaded  # a signature does not keep its variables alive
        return function  # type: ignore[no-any-return]
    except (AttributeError, KeyError, TypeError, ValueError, tf.errors.OpError):
        return _load_session_function(folder, signature, tags)


def _load_session_function(folder: Path, signature: Any, tags: list[str]) -> Callable[..., Mapping[str, object]]:
    """What TensorFlow 1 wrote, or a TensorFlow 2 whose objects this version cannot rebuild: restore, then freeze."""
    import tensorflow as tf

    v1 = tf.compat.v1
    outputs = {name: info.name for name, info in signature.outputs.items()}
    with v1.Session(graph=tf.Graph()) as session:
        v1.saved_model.loader.load(session, tags, str(folder))
        nodes = sorted({tensor.partition(":")[0] for tensor in outputs.values()})
        frozen = v1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), nodes)
    inputs = {name: info.name for name, info in signature.inputs.items()}
    wrapped = v1.wrap_function(lambda: v1.import_graph_def(frozen, name=""), [])
    element = wrapped.graph.as_graph_element
    pruned = wrapped.prune([element(tensor) for tensor in inputs.values()], [element(t) for t in outputs.values()])

    def named(**tensors: object) -> dict[str, object]:
        return dict(zip(outputs, pruned(*(tensors[name] for name in inputs)), strict=True))

    return named
