"""From a float graph to files: calibrate, quantize, write; once for each graph that is to become artifacts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from edgekit.artifacts import StagedArtifact, write_artifact
from edgekit.data import Samples
from edgekit.interface import Precision
from edgekit.passes.quantize import Calibration, QuantizationScheme, calibrate, quantize
from edgekit.profiles.target import Target
from edgekit.runtimes import Array
from edgekit.settings import ExportSettings

Calibrations = Mapping[str, Calibration]
"""By observer."""

Networks = Mapping[QuantizationScheme, ir.Model]

PathOf = Callable[[str], Path]
"""Where to write what will be called so, relative to the output folder."""


@dataclass(frozen=True)
class Builder:
    """Writes every format of every target of a graph, all of it in the same precision and from the same samples."""

    profiles: Sequence[Target]
    samples: Samples | None
    settings: ExportSettings
    what: str = ""
    """Told in the progress, where it is not the artifacts themselves that are made."""

    def build(self, graph: ir.Model, path_of: PathOf) -> list[StagedArtifact]:
        """The artifacts of ``graph``. Raises UnsupportedError and DataError."""
        # Calibrations are large; nobody keeps them once the networks are there.
        networks = self._quantize(graph, self._calibrate(graph))
        return [artifact for profile in self.profiles for artifact in self._write(networks, profile, path_of)]

    def scheme(self, profile: Target) -> QuantizationScheme:
        """What the artifacts of a target are to be."""
        return profile.scheme(precision_of(profile, self.settings))

    def _calibrate(self, graph: ir.Model) -> Calibrations:
        """One calibration for each observer that a static profile asks for; almost always one for all."""
        calibrations: dict[str, Calibration] = {}
        schemes = [self.scheme(profile) for profile in self.profiles]
        static = [scheme for scheme in schemes if scheme.precision is Precision.INT8]
        if self.samples is None:
            return calibrations
        for observer in dict.fromkeys(scheme.observer for scheme in static):
            served = [scheme for scheme in static if scheme.observer == observer]
            moments = any(scheme.rounding == "gptq" or scheme.bias_correction for scheme in served)
            float_ops = [scheme.float_ops for scheme in served]
            with self.settings.progress.stage(f"calibrating{self.what}", len(self.samples)) as advance:
                calibrations[observer] = calibrate(
                    graph, self.samples, advance, observer=observer, moments=moments, float_ops=float_ops
                )
        return calibrations

    def _quantize(self, graph: ir.Model, calibrations: Calibrations) -> Networks:
        """One network for each scheme that a profile asks for; profiles of one family share it."""
        networks: dict[QuantizationScheme, ir.Model] = {}
        for profile in self.profiles:
            scheme = self.scheme(profile)
            if scheme not in networks:
                with self.settings.progress.stage(f"quantizing{self.what} for {profile.name}"):
                    networks[scheme] = quantize(graph, scheme, calibrations.get(scheme.observer))
        return networks

    def _write(self, networks: Networks, profile: Target, path_of: PathOf) -> list[StagedArtifact]:
        """One quantized network in every format of the target."""
        network = networks[self.scheme(profile)]
        written = []
        with self.settings.progress.stage(f"writing{self.what} {profile.name}", len(profile.formats)) as advance:
            for format_name in profile.formats:
                precision = precision_of(profile, self.settings)
                written.append(write_artifact(network, profile, format_name, precision, path_of, self.settings))
                advance(1)
        return written


class QuickBuilder:
    """Writes artifacts that are as large and as fast as the real ones, but not as accurate: rounded to nearest.

    Calibrated once, on one sample of the full graph: what is removed from it keeps the names of its values.
    """

    def __init__(self, graph: ir.Model, sample: Mapping[str, Array], builder: Builder) -> None:
        self._builder = builder
        self._schemes = {profile.name: _quick(builder.scheme(profile)) for profile in builder.profiles}
        static = [scheme for scheme in self._schemes.values() if scheme.precision is Precision.INT8]
        float_ops = [scheme.float_ops for scheme in static]
        self._calibration = calibrate(graph, [sample], moments=False, float_ops=float_ops) if static else None

    def build(self, graph: ir.Model, path_of: PathOf) -> list[StagedArtifact]:
        """The artifacts of ``graph``, in the order of the builder's."""
        networks = {scheme: quantize(graph, scheme, self._calibration) for scheme in set(self._schemes.values())}
        settings = self._builder.settings
        return [
            write_artifact(
                networks[self._schemes[profile.name]],
                profile,
                format_name,
                precision_of(profile, settings),
                path_of,
                settings,
            )
            for profile in self._builder.profiles
            for format_name in profile.formats
        ]


def _quick(scheme: QuantizationScheme) -> QuantizationScheme:
    return replace(scheme, observer="minmax", rounding="nearest", bias_correction=False)


def precision_of(profile: Target, settings: ExportSettings) -> Precision:
    """What was asked for, or what the target's profile says."""
    return settings.precision or profile.precision
