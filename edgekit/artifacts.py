"""One artifact: a quantized network written in one format for one target, not yet verified."""

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgekit.exporters import ExportedInterface, ExportOptions, find_exporter
from edgekit.interface import Layout, Precision
from edgekit.profiles.target import Target
from edgekit.release.staging import Staging
from edgekit.settings import ExportSettings


@dataclass(frozen=True, slots=True)
class StagedArtifact:
    """A file in the staging folder; ``path`` is what it will be called, relative to the output folder."""

    profile: Target
    format: str
    precision: Precision
    layout: Layout
    path: str
    staged_path: Path
    interface: ExportedInterface


def write_artifact(
    network: ir.Model,
    profile: Target,
    format_name: str,
    precision: Precision,
    staged: Staging,
    settings: ExportSettings,
) -> StagedArtifact:
    """Write ``network`` into the staging folder as the profile wants this format. Raises UnsupportedError."""
    exporter = find_exporter(format_name)
    runtime = profile.runtimes[format_name]
    options = ExportOptions(precision, settings.io, runtime.layout, runtime.activation_dtype)
    path = f"{profile.name}/{settings.name}{exporter.suffix}"
    staged_path = staged.path(path)
    interface = exporter.export(network, options, staged_path)
    return StagedArtifact(profile, format_name, precision, runtime.layout, path, staged_path, interface)
