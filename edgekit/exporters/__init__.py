"""From the graph to files: one module per format, each with one exporter class."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.interface import IoType, Layout, Precision, TensorSpec


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a target wants of a file. ``activation_dtype`` is how the ONNX file stores activations; others ignore it."""

    precision: Precision
    io: IoType = IoType.FLOAT
    layout: Layout = Layout.KEEP
    activation_dtype: Literal["int8", "uint8"] = "int8"


@dataclass(frozen=True, slots=True)
class ExportedInterface:
    """Inputs and outputs of a written file, in the source model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class UnsupportedNode:
    """A node that a format cannot express, and why."""

    op: str
    node: str
    reason: str


class Exporter(Protocol):
    """Writes one format. ``format`` is its name in profiles and the manifest; ``suffix`` has the dot."""

    format: str
    suffix: str

    def unsupported(self, model: ir.Model) -> list[UnsupportedNode]:
        """Every node of ``model`` that this format cannot express."""
        ...

    def export(self, model: ir.Model, options: ExportOptions, path: Path) -> ExportedInterface:
        """Write ``model`` to ``path``. Raises UnsupportedError naming all nodes that the format cannot express."""
        ...


def describe_unsupported(format_name: str, nodes: Sequence[UnsupportedNode]) -> str:
    """One sentence that names every node of ``nodes`` and what to do."""
    listed = ", ".join(f"{n.op} (node {n.node!r}: {n.reason})" for n in nodes)
    return f"{format_name}: cannot express {listed}; change these nodes in the source model"


def raise_unsupported(format_name: str, nodes: Sequence[UnsupportedNode]) -> None:
    """Raise one UnsupportedError that names every node of ``nodes``; do nothing when there is none."""
    if nodes:
        raise UnsupportedError(describe_unsupported(format_name, nodes))


_CLASSES = {
    "tflite": ("edgekit.exporters.tflite", "TFLiteExporter"),
    "mnn": ("edgekit.exporters.mnn", "MnnExporter"),
    "onnx": ("edgekit.exporters.onnx", "OnnxExporter"),
}


def find_exporter(format_name: str) -> Exporter:
    """The exporter of a format that a target profile names."""
    module, name = _CLASSES[format_name]
    return cast(Exporter, getattr(importlib.import_module(module), name)())
