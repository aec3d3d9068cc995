"""One artifact: a quantized network written in one format for one target, not yet verified."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters import ExportedInterface, ExportOptions, find_exporter
from edgekit.interface import Layout, Precision
from edgekit.passes.quantize.coverage import computed_precision
from edgekit.profiles.target import Target
from edgekit.settings import ExportSettings


@dataclass(frozen=True, slots=True)
class StagedArtifact:
    """A file in the staging folder; ``path`` is what it will be called, relative to the output folder.

    ``precision`` is what was asked for, ``computed`` what the manifest says: "mixed" where static int8 is partly float.
    """

    profile: Target
    format: str
    precision: Precision
    computed: str
    layout: Layout
    path: str
    staged_path: Path
    interface: ExportedInterface


def write_artifact(
    network: ir.Model,
    profile: Target,
    format_name: str,
    precision: Precision,
    path_of: Callable[[str], Path],
    settings: ExportSettings,
) -> StagedArtifact:
    """Write ``network`` where ``path_of`` its final path says, as the profile wants this format.

    Raises UnsupportedError.
    """
    computed = stated_precision(network, precision)
    exporter = find_exporter(format_name)
    runtime = profile.runtimes[format_name]
    options = ExportOptions(precision, settings.io, runtime.layout, runtime.activation_dtype)
    path = f"{profile.name}/{settings.name}{exporter.suffix}"
    staged_path = path_of(path)
    interface = exporter.export(network, options, staged_path)
    return StagedArtifact(profile, format_name, precision, computed, runtime.layout, path, staged_path, interface)


def stated_precision(network: ir.Model, precision: Precision) -> str:
    """What the artifacts of ``network`` say of themselves. Raises UnsupportedError for static int8 all in float."""
    if precision is not Precision.INT8:
        return str(precision)
    computed = computed_precision(network)
    if computed is None:
        kinds = ", ".join(dict.fromkeys(node.op_type for node in network.graph)) or "none"
        raise UnsupportedError(
            f"nothing of this model can be quantized to int8: it has no operator with an integer kernel ({kinds}); "
            "use --precision fp16"
        )
    return computed
