"""MNN through its own converter, with edgekit's scales: the same integers as in the other formats.

Two steps, because MNN's converter gets QDQ graphs wrong, and a large fully connected layer in one step: the float graph
becomes a float ``.mnn``, and that and the scales become the int8 one. The interface is float, in the source's layout.
"""

import hashlib
import tempfile
import uuid
from pathlib import Path

import onnx_ir as ir

from edgekit.errors import ModelError
from edgekit.exporters import ExportedInterface, ExportOptions, UnsupportedNode, raise_unsupported
from edgekit.exporters.mnn import converter
from edgekit.exporters.mnn.lowering import lower
from edgekit.exporters.mnn.quantization import compression_parameters, describe_tensors
from edgekit.exporters.mnn.strip import FloatGraph, strip_quantization
from edgekit.exporters.mnn.unsupported import known_unsupported
from edgekit.interface import Precision, TensorSpec
from edgekit.runtimes.mnn_file import NET_UUID, MnnFile
from edgekit.runtimes.process import RuntimeProcess

_FLOAT_FILE = "float.mnn"


class MnnExporter:
    """Writes ``.mnn``. The interface is float32 (int32 for integers) even where int8 is asked for: MNN has no other.

    ``int8-weights`` and ``int8-dynamic`` give the same kind of file: MNN computes dynamically when the application
    loads it with ``memory: low``, and in float otherwise.
    """

    format = "mnn"
    suffix = ".mnn"

    def unsupported(self, model: ir.Model) -> list[UnsupportedNode]:
        """What MNN's converter refuses, by asking it, and what it is known to get wrong."""
        found = {node.node: node for node in known_unsupported(model)}
        with tempfile.TemporaryDirectory(prefix="edgekit-mnn-") as directory:
            for node in _refused(_float_graph(model), Path(directory)):
                found.setdefault(node.node, node)
        return list(found.values())

    def export(self, model: ir.Model, options: ExportOptions, path: Path) -> ExportedInterface:
        """Write ``model`` to ``path``, its interface in float and in the source's layout whatever ``options`` ask for.

        Raises UnsupportedError naming all nodes that MNN cannot express, ModelError when its converter fails otherwise,
        and GateError when MNN crashes on the file; ``path`` is written only when all is well.
        """
        raise_unsupported(self.format, known_unsupported(model))
        graph = _float_graph(model)
        with tempfile.TemporaryDirectory(prefix="edgekit-mnn-") as directory:
            folder = Path(directory)
            raise_unsupported(self.format, _refused(graph, folder))
            written = folder / _FLOAT_FILE
            if options.precision is Precision.FP16:
                converter.store_half(written, folder / "half.mnn")
                written = folder / "half.mnn"
            elif graph.weights:
                written = _quantize(graph, written, folder)
            content = _stable_identity(written.read_bytes(), path)
            written.write_bytes(content)
            interface = _check(model, written, path)
        path.write_bytes(content)
        return interface


def _float_graph(model: ir.Model) -> FloatGraph:
    graph = strip_quantization(model)
    lower(graph)
    return graph


def _refused(graph: FloatGraph, folder: Path) -> list[UnsupportedNode]:
    """Convert ``graph`` into ``folder``, and tell which nodes MNN's converter refuses or crashes on."""
    try:
        _convert_float(graph.model, folder)
    except converter.UnsupportedOpsError as error:
        reason = "MNN's converter does not know it"
        culprits = [node for node in graph.model.graph if node.op_type in error.op_types]
    except converter.ConverterFailedError as error:
        reason = str(error).partition(";")[0]
        culprits = [_first_failing(graph.model, folder)]
    else:
        return []
    return [UnsupportedNode(node.op_type, node.name or "", reason) for node in culprits]


def _convert_float(model: ir.Model, folder: Path) -> None:
    source = folder / "float.onnx"
    ir.save(model, source)
    converter.convert_onnx(source, folder / _FLOAT_FILE)


def _first_failing(model: ir.Model, folder: Path) -> ir.Node:
    """The first node that, put behind all before it, makes MNN's converter fail: found by halving."""
    nodes = list(model.graph)
    works, fails = 0, len(nodes)
    while fails - works > 1:
        middle = (works + fails) // 2
        try:
            _convert_float(_leading_part(model, middle), folder)
            works = middle
        except converter.ConverterFailedError:
            fails = middle
    return nodes[fails - 1]


def _leading_part(model: ir.Model, count: int) -> ir.Model:
    part = model.clone()
    nodes = list(part.graph)
    users = {id(value) for node in nodes[:count] for value in node.inputs}
    ends = [value for node in nodes[:count] for value in node.outputs if id(value) not in users]
    part.graph.outputs[:] = ends
    part.graph.remove(nodes[count:], safe=True)
    return part


def _quantize(graph: FloatGraph, source: Path, folder: Path) -> Path:
    parameters = compression_parameters(MnnFile(source.read_bytes(), source), graph)
    if parameters is None:
        return source
    file, target = folder / "scales.json", folder / "int8.mnn"
    file.write_text(parameters)
    converter.compress(source, target, file)
    target.write_bytes(describe_tensors(target.read_bytes(), target, graph))
    return target


def _stable_identity(content: bytes, path: Path) -> bytes:
    """``content`` with a UUID made from the rest of it: MNN's converter draws a random one."""
    file = MnnFile(content, path)
    field = file.field(file.root, NET_UUID)
    if not field:
        return content
    start = file.follow(field) + 4
    length = len(file.string(file.follow(field)))
    digest = hashlib.sha256(content[:start])
    digest.update(content[start + length :])
    identity = str(uuid.UUID(bytes=digest.digest()[:16], version=4))[:length]
    return content[:start] + identity.encode().ljust(length, b"\0") + content[start + length :]


def _check(model: ir.Model, written: Path, path: Path) -> ExportedInterface:
    """Load what will be ``path`` in MNN and give its interface in the source model's order."""
    with RuntimeProcess("mnn", written, label=str(path)) as process:
        inputs = {spec.name: spec for spec in process.inputs}
        outputs = {spec.name: spec for spec in process.outputs}
    return ExportedInterface(
        tuple(_spec(path, inputs, value) for value in model.graph.inputs),
        tuple(_spec(path, outputs, value) for value in model.graph.outputs),
    )


def _spec(path: Path, specs: dict[str, TensorSpec], value: ir.Value) -> TensorSpec:
    name = value.name or ""
    if name not in specs:
        raise ModelError(
            f'{path}: MNN\'s converter lost "{name}"; it found {", ".join(specs)}; export the other formats'
        )
    return specs[name]
