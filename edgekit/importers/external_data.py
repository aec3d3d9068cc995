"""External tensor data of an ONNX file, only from inside the model's own folder."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from edgekit.errors import ModelError


def load_tensor(tensor: onnx.TensorProto, folder: Path) -> ir.TensorProtocol:
    """The tensor behind a proto: a view of the proto, or a copy of what its external file holds.

    Raises ModelError when the external file is missing, too short, or lies outside ``folder`` (absolute path, ``..``,
    or a symbolic link that leaves it).
    """
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return ir.serde.deserialize_tensor(tensor)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = _checked_location(tensor.name, entries.get("location", ""), folder)
    offset, length = (_checked_number(tensor.name, entries, key) for key in ("offset", "length"))
    loaded = ir.ExternalTensor(
        location.as_posix(),
        offset,
        length,
        ir.DataType(tensor.data_type),
        shape=ir.Shape(tensor.dims),
        name=tensor.name,
        base_dir=folder.resolve(),
    )
    _check_extent(loaded, folder / location, offset or 0, length)
    return ir.Tensor(loaded.numpy().copy(), dtype=loaded.dtype, shape=loaded.shape, name=tensor.name)


def external_files(proto: onnx.ModelProto, folder: Path) -> list[Path]:
    """The files that hold external data of ``proto``, relative to ``folder``, sorted. Raises ModelError as above."""
    found: set[Path] = set()
    for tensor in _tensors([proto.graph], [node for function in proto.functions for node in function.node]):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            found.add(_checked_location(tensor.name, location, folder))
    return sorted(found)


def _tensors(graphs: list[onnx.GraphProto], nodes: list[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """All tensors of ``graphs`` and ``nodes`` and of what is nested in them."""
    for graph in graphs:
        yield from graph.initializer
        nodes = [*nodes, *graph.node]
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            yield from _tensors([attribute.g, *attribute.graphs], [])


def _checked_location(tensor: str, location: str, folder: Path) -> Path:
    """``location`` relative to ``folder``, all symbolic links followed, proven to be a file in it."""
    if not location:
        raise ModelError(f'tensor "{tensor}" has external data without a location; export the model again')
    escapes = PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute()
    root = folder.resolve()
    real = root.joinpath(location).resolve()
    if escapes or ".." in PurePosixPath(location).parts or not real.is_relative_to(root):
        raise ModelError(
            f'external data "{location}" of tensor "{tensor}" leaves the model\'s folder; move it beside the model'
        )
    if not real.is_file():
        raise ModelError(
            f'external data "{location}" of tensor "{tensor}" is missing; expected it at {folder / location}'
        )
    return real.relative_to(root)


def _checked_number(tensor: str, entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not text.isdecimal():
        raise ModelError(f'external data of tensor "{tensor}": {key} is "{text}"; expected a number of bytes')
    return int(text)


def _check_extent(tensor: ir.ExternalTensor, file: Path, offset: int, length: int | None) -> None:
    if length is not None and length != tensor.nbytes:
        raise ModelError(f'external data of tensor "{tensor.name}": length is {length} bytes; expected {tensor.nbytes}')
    size = file.stat().st_size
    if offset + tensor.nbytes > size:
        raise ModelError(
            f'external data "{tensor.location}" has {size} bytes; tensor "{tensor.name}" needs bytes {offset} to '
            f"{offset + tensor.nbytes}: the file is truncated, copy it again"
        )
