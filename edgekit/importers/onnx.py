"""Reading ``.onnx`` files."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edgekit.errors import ModelError
from edgekit.importers.conform import conform
from edgekit.importers.input_shapes import Shape


def import_onnx(path: Path, input_shapes: Mapping[str, Shape] | None = None) -> ir.Model:
    """The graph of an ``.onnx`` file of any opset, in the form that ImportedModel promises.

    Raises ModelError and UnsupportedError; see ``edgekit.importers.import_model``.
    """
    return conform(read_proto(path), path.parent, input_shapes)


def read_proto(path: Path) -> onnx.ModelProto:
    """The file as it stands, external data not yet read. Raises ModelError when it is no ONNX model."""
    proto = onnx.ModelProto()
    expected = "expected an ONNX model (protobuf), as torch.onnx.export or tf2onnx write it"
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{path}: is not an ONNX model or is truncated; {expected}") from error
    if proto.ir_version < 1 or not proto.HasField("graph"):
        raise ModelError(f"{path}: is not an ONNX model; {expected}")
    if not proto.graph.output:
        raise ModelError(f"{path}: the model has no outputs or is truncated; {expected}")
    return proto
