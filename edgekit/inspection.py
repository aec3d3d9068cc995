"""What a model is, and what a target would make of it, found by writing and loading it, not by a list."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgekit.exporters import ExportOptions, UnsupportedNode, find_exporter
from edgekit.graph.cost import count_macs, count_parameters, op_counts
from edgekit.importers import import_model
from edgekit.interface import Precision, TensorSpec
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.quantize import calibrate, quantize
from edgekit.profiles.target import Target, load_target
from edgekit.progress import Progress, Silent
from edgekit.pruning.requirements import channel_multiple
from edgekit.pruning.survey import ChannelSurvey, survey_channels
from edgekit.release.delegation import target_delegation
from edgekit.release.manifest import tensors_to_json
from edgekit.runtimes import Delegation
from edgekit.runtimes.process import RuntimeProcess
from edgekit.verification import random_samples


@dataclass(frozen=True, slots=True)
class FormatSupport:
    """How one format of one target takes the model; ``delegation`` is None when it, or the runtime, cannot."""

    target: str
    format: str
    precision: str
    unsupported: tuple[UnsupportedNode, ...]
    delegation: Delegation | None

    def explanation(self) -> str:
        """What is missing, or else what falls back, each op once."""
        if self.unsupported:
            return "; ".join(f"{node.op} ({node.node}): {node.reason}" for node in self.unsupported)
        fallback = () if self.delegation is None else self.delegation.fallback
        reasons = dict.fromkeys(f"{entry.op}: {entry.reason}" for entry in fallback)
        return "; ".join(reasons)

    def to_json(self) -> dict[str, Any]:
        """As ``edgekit inspect --json`` prints it."""
        return {
            "target": self.target,
            "format": self.format,
            "precision": self.precision,
            "supported": not self.unsupported,
            "unsupported": [{"op": n.op, "node": n.node, "reason": n.reason} for n in self.unsupported],
            "delegation": None if self.delegation is None else self.delegation.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model's interface and cost. ``ops`` counts the ops of the optimized graph, ``source_ops`` the import's.

    ``channels``: what could be pruned; None when that was not asked for.
    """

    path: str
    format: str
    sha256: str
    parameters: int
    macs: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: Mapping[str, int]
    source_ops: Mapping[str, int]
    targets: tuple[FormatSupport, ...] = field(default=())
    channels: ChannelSurvey | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``edgekit inspect --json`` prints it."""
        document = {
            "schema": 1,
            "model": {
                "path": self.path,
                "format": self.format,
                "sha256": self.sha256,
                "parameters": self.parameters,
                "macs": self.macs,
                "inputs": tensors_to_json(self.inputs),
                "outputs": tensors_to_json(self.outputs),
            },
            "ops": dict(self.ops),
            "source_ops": dict(self.source_ops),
            "targets": [support.to_json() for support in self.targets],
        }
        return document if self.channels is None else document | {"channels": self.channels.to_json()}


def inspect(
    model: str | PathLike[str],
    targets: Sequence[str] = (),
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    channels: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Inputs, outputs, parameters, MACs and ops of ``model``, and what each of ``targets`` supports and accelerates.

    ``channels``: find also the groups of channels that can be pruned, and what cannot be.

    For a target the model is really written and loaded, calibrated on random samples where need be.
    Raises ModelError, ProfileError, UsageError or DependencyError.
    """
    progress = progress or Silent()
    profiles = [load_target(name) for name in dict.fromkeys(targets)]
    with progress.stage(f"importing {Path(model).name}"):
        source = import_model(Path(model), input_shapes=input_shapes)
    with progress.stage("optimizing the graph"):
        graph = canonicalize(source.model)
    support = []
    for profile in profiles:
        with progress.stage(f"trying {profile.name}"):
            support += _try_target(graph, profile, source.inputs)
    return Inspection(
        path=str(source.path),
        format=str(source.format),
        sha256=source.sha256,
        parameters=count_parameters(graph),
        macs=count_macs(graph),
        inputs=source.inputs,
        outputs=source.outputs,
        ops=op_counts(graph),
        source_ops=op_counts(source.model),
        targets=tuple(support),
        channels=survey_channels(graph, channel_multiple(profiles)) if channels else None,
    )


def _try_target(graph: ir.Model, profile: Target, inputs: Sequence[TensorSpec]) -> list[FormatSupport]:
    static = profile.precision is Precision.INT8
    calibration = None
    if static:
        kept = [profile.quantization.float_ops]
        calibration = calibrate(graph, random_samples(inputs, 1), moments=False, float_ops=kept)
    network = quantize(graph, profile.scheme(profile.precision), calibration)
    return [_try_format(network, profile, format_name) for format_name in profile.formats]


def _try_format(network: ir.Model, profile: Target, format_name: str) -> FormatSupport:
    exporter = find_exporter(format_name)
    runtime = profile.runtimes[format_name]
    unsupported = tuple(exporter.unsupported(network))
    delegation = None
    if not unsupported:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder, f"model{exporter.suffix}")
            options = ExportOptions(profile.precision, layout=runtime.layout, activation_dtype=runtime.activation_dtype)
            exporter.export(network, options, path)
            label = f"{profile.name} {format_name}"
            with RuntimeProcess(format_name, path, label=label, precision=profile.precision) as process:
                delegation = target_delegation(runtime, path, process.delegation())
    return FormatSupport(profile.name, format_name, str(profile.precision), unsupported, delegation)
