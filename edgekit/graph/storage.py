"""Reading and writing .onnx files and messages, whatever the size, always the same bytes for the same graph."""

from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from edgekit.errors import ModelError

_LARGEST_MESSAGE = 2 * 1024**3 - 2**26
"""Protobuf's limit is 2 GiB for a message; the margin is for the graph around the weights."""


def load(path: Path) -> ir.Model:
    """The model of an .onnx file; weights stay in the file (memory-mapped) where they are external.

    Raises ``ModelError`` when the file is no ONNX model. For files that nobody vouches for use ``edgekit.importers``,
    which also keeps external data inside the folder.
    """
    try:
        model = ir.load(path)
    except (DecodeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: not a readable ONNX model ({error}); expected a file written by onnx.save"
        ) from error
    if not model.opset_imports:
        raise ModelError(f"{path}: not an ONNX model (it names no operator set); expected a file written by onnx.save")
    return model


def weight_bytes(model: ir.Model) -> int:
    """The bytes of all initializers."""
    return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)


def save(model: ir.Model, path: Path) -> None:
    """Writes the model to ``path``; weights go to ``<name>.data`` beside it when one message cannot hold them.

    The same graph gives the same bytes. The model stays as it is.
    """
    if weight_bytes(model) < _LARGEST_MESSAGE:
        path.write_bytes(to_bytes(model))
    else:
        ir.save(model, path, external_data=f"{path.name}.data")


def to_bytes(model: ir.Model) -> bytes:
    """The model as one protobuf message, deterministically; raises ``ModelError`` from 2 GiB on (use ``save``)."""
    try:
        return bytes(to_proto(model).SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise ModelError(
            f"model {model.graph.name!r} is larger than one 2 GiB message: save it to a file instead"
        ) from error


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as an ``onnx.ModelProto``, all weights inside."""
    return ir.serde.serialize_model(model)
