"""Target profiles: what to make for a kind of machine, and what its runtimes accelerate (``targets/*.toml``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgekit.emulation.cpu import CPUS
from edgekit.interface import Layout, Precision
from edgekit.passes.prune.scheme import ImportanceName, PruningScheme
from edgekit.passes.quantize.scheme import QuantizationScheme
from edgekit.profiles.gate import Gate
from edgekit.profiles.lookup import find_profile, profile_paths
from edgekit.profiles.runner import RunnerProfile, read_target_runners
from edgekit.profiles.toml import Table, read_toml

FORMATS = ("tflite", "mnn", "onnx")

_ACCELERATOR_KEY = {"tflite": "delegate", "mnn": "backend", "onnx": "execution_provider"}
"""Each runtime's own word for what executes the graph."""

_ACCELERATORS = {
    "tflite": ("xnnpack", "gpu", "nnapi", "none"),
    "mnn": ("CPU", "OPENCL", "VULKAN", "METAL", "CUDA"),
    "onnx": (
        "CPUExecutionProvider",
        "XnnpackExecutionProvider",
        "NnapiExecutionProvider",
        "QNNExecutionProvider",
        "CoreMLExecutionProvider",
        "CUDAExecutionProvider",
    ),
}

_ASKED = ("xnnpack", "none", "CPU", "CPUExecutionProvider")
"""The accelerators whose runtime, when it verifies an artifact, says itself what it takes."""


@dataclass(frozen=True, slots=True)
class RuntimeProfile:
    """How one format runs on a target.

    ``accelerator`` is the TFLite delegate, the MNN backend or the ONNX Runtime execution provider. ``layout`` is
    that of the artifact's image inputs and outputs. ``activation_dtype`` is that of QuantizeLinear in ONNX files (int8
    in the other formats, whose integer kernels know nothing else). ``accelerated_ops`` are the TFLite builtin operators
    that a delegate takes which is not on this machine.
    """

    format: str
    accelerator: str
    layout: Layout = Layout.KEEP
    activation_dtype: Literal["int8", "uint8"] = "int8"
    accelerated_ops: frozenset[str] | None = None

    @property
    def is_asked(self) -> bool:
        """Whether the runtime of this machine tells what the target's accelerator takes."""
        return self.accelerator in _ASKED


@dataclass(frozen=True, slots=True)
class Target:
    """A target profile. ``precision`` is what ``--precision auto`` means; ``runtimes`` has one entry per format.

    ``emulated_cpus`` are the CPUs (edgekit/emulation/cpu.py) on which ``edgekit verify --emulate`` runs its artifacts.
    ``runners`` measure a format on devices over adb and ssh whose own profiles name no program for it.
    """

    name: str
    path: Path
    description: str
    formats: tuple[str, ...]
    precision: Precision
    quantization: QuantizationScheme
    pruning: PruningScheme
    gate: Gate
    runtimes: Mapping[str, RuntimeProfile]
    emulated_cpus: tuple[str, ...] = ()
    runners: Mapping[str, RunnerProfile] = field(default_factory=dict)

    def scheme(self, precision: Precision) -> QuantizationScheme:
        """This target's quantization at another precision than its own."""
        return replace(self.quantization, precision=precision)


def load_target(name: str) -> Target:
    """The profile called ``name``, or the ``.toml`` file that ``name`` is the path of. Raises ProfileError."""
    return _parse(_read(find_profile("targets", name)))


def list_targets() -> list[Target]:
    """All profiles of the working directory and the package, sorted by name. Raises ProfileError."""
    return [_parse(_read(path)) for path in profile_paths("targets").values()]


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> Table:
    """The file, over the profile that it ``extends``, which is checked by itself first: errors name the right file."""
    root = read_toml(path)
    if "extends" not in root:
        return root
    if path.resolve() in extended_by:
        raise root.error("extends", "a profile that does not lead back to this one")
    base = _read(find_profile("targets", root.string("extends"), extending=path), (*extended_by, path.resolve()))
    _parse(base)
    return root.over(base)


def _parse(root: Table) -> Target:
    formats = root.some_of("formats", FORMATS)
    precision = root.choice("precision", Precision)
    target = Target(
        name=root.path.stem,
        path=root.path,
        description=root.string("description"),
        formats=formats,
        precision=precision,
        quantization=_quantization(root.table("quantization"), precision),
        pruning=_pruning(root.table("pruning")),
        gate=_gate(root.table("gate")),
        runtimes={each: _runtime(root, each) for each in FORMATS if each in formats or each in root},
        runners=read_target_runners(root.table("runners")),
        emulated_cpus=_emulated_cpus(root.table("emulation")),
    )
    root.string("extends", "")
    root.finish()
    return target


def _quantization(table: Table, precision: Precision) -> QuantizationScheme:
    defaults = QuantizationScheme(precision)
    scheme = QuantizationScheme(
        precision,
        weight_bits=table.one_of("weight_bits", (8, 7), defaults.weight_bits),
        weight_granularity=table.one_of("weight_granularity", ("per_axis", "per_tensor"), defaults.weight_granularity),
        observer=table.one_of("observer", ("minmax", "mse"), defaults.observer),
        rounding=table.one_of("rounding", ("nearest", "gptq"), defaults.rounding),
        bias_correction=table.boolean("bias_correction", defaults.bias_correction),
        float_ops=table.strings("float_ops", defaults.float_ops),
    )
    table.finish()
    return scheme


def _pruning(table: Table) -> PruningScheme:
    defaults = PruningScheme()
    scheme = PruningScheme(
        channel_multiple=table.integer("channel_multiple", defaults.channel_multiple, minimum=1),
        importance=table.choice("importance", ImportanceName, defaults.importance),
    )
    table.finish()
    return scheme


def _gate(table: Table) -> Gate:
    defaults = Gate()
    gate = Gate(
        max_top1_drop=table.number("max_top1_drop", defaults.max_top1_drop, low=0, high=100),
        min_top1_agreement=table.number("min_top1_agreement", defaults.min_top1_agreement, low=0, high=100),
        min_cosine=table.number("min_cosine", defaults.min_cosine, low=-1, high=1),
        min_output_cosine=table.number("min_output_cosine", defaults.min_output_cosine, low=-1, high=1),
        min_format_agreement=table.number("min_format_agreement", defaults.min_format_agreement, low=0, high=100),
        min_format_cosine=table.number("min_format_cosine", defaults.min_format_cosine, low=-1, high=1),
    )
    table.finish()
    return gate


def _emulated_cpus(table: Table) -> tuple[str, ...]:
    cpus = table.strings("cpus", ())
    if any(cpu not in CPUS for cpu in cpus) or len({CPUS[cpu].machine for cpu in cpus}) > 1:
        raise table.error("cpus", f"some of {', '.join(CPUS)}, all of one machine")
    table.finish()
    return cpus


def _runtime(root: Table, format_: str) -> RuntimeProfile:
    table = root.table(format_)
    runtime = RuntimeProfile(
        format=format_,
        accelerator=table.one_of(_ACCELERATOR_KEY[format_], _ACCELERATORS[format_]),
        layout=table.choice("layout", Layout, Layout.KEEP) if format_ == "tflite" else Layout.KEEP,
        activation_dtype=table.one_of("activation_dtype", ("int8", "uint8"), "int8") if format_ == "onnx" else "int8",
        accelerated_ops=_accelerated_ops(table) if format_ == "tflite" else None,
    )
    table.finish()
    return runtime


def _accelerated_ops(table: Table) -> frozenset[str] | None:
    return frozenset(table.strings("accelerated_ops", ())) if "accelerated_ops" in table else None
