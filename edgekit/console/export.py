"""The table of ``edgekit export``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from edgekit.console.narrow import print_table
from edgekit.console.pruning import show_pruning
from edgekit.console.terminal import error_console, new_table, spell_accelerated, spell_number

if TYPE_CHECKING:
    from edgekit.interface import TensorSpec
    from edgekit.release.manifest import Artifact, Manifest

_WEAK_DB = 10.0
"""An output whose error has a tenth of its power: cosine 0.95."""

_FEW_SAMPLES = 8
"""Fewer say too little of the ranges of activations, whatever verification says on the same ones."""

_SUFFIXES = (".tflite", ".mnn", ".onnx")


def show_export(manifest: "Manifest") -> None:
    """The table at the end of an export: size, accuracy, interface and fallbacks of every artifact."""
    labelled = any(artifact.verification.top1 is not None for artifact in manifest.artifacts)
    accuracy = ("#top-1 %", "#float %") if labelled else ()
    table = new_table(
        "artifact", "precision", "#KiB", *accuracy, "#agreement %", "#SQNR dB", "layout", "inputs", "#accelerated"
    )
    for artifact in manifest.artifacts:
        seen = artifact.verification
        table.add_row(
            artifact.path,
            artifact.precision,
            f"{artifact.bytes / 1024:,.1f}",
            *((spell_number(seen.top1), spell_number(seen.top1_float)) if labelled else ()),
            spell_number(seen.top1_agreement),
            spell_number(seen.sqnr_db, 1),
            str(artifact.layout),
            "; ".join(_spell(tensor) for tensor in artifact.interface.inputs),
            spell_accelerated(artifact.delegation),
        )
    console = error_console()
    print_table(console, table)
    for artifact in manifest.artifacts:
        _show_fallback(console, artifact)
        if manifest.settings["io"] == "int8":
            for note in _float_interface(artifact):
                console.print(note, markup=False, soft_wrap=True)
    if manifest.pruning is not None:
        show_pruning(console, manifest.pruning)
    for note in _notes(manifest):
        console.print(note, markup=False, soft_wrap=True)


def _float_interface(artifact: "Artifact") -> Iterator[str]:
    """What --io int8 did not make integer."""
    tensors = (*artifact.interface.inputs, *artifact.interface.outputs)
    kept = [tensor for tensor in tensors if tensor.scale is None and tensor.dtype == "float32"]
    if kept and all(tensor.scale is None for tensor in tensors):
        yield f"{artifact.path}: keeps its float interface, as its runtime has no other"
    elif kept:
        names = ", ".join(f'"{tensor.name}"' for tensor in kept)
        yield f"{artifact.path}: {names} stays float: what it is made of was left in float, or no one scale suits it"


def _notes(manifest: "Manifest") -> Iterator[str]:
    """What a user should know beside the table."""
    written = {manifest.folder / artifact.path for artifact in manifest.artifacts}
    for path in sorted({path for suffix in _SUFFIXES for path in manifest.folder.glob(f"*/*{suffix}")} - written):
        yield f"{path}: of an earlier export, not in this manifest"
    seen = manifest.artifacts[0].verification
    if seen.top1_float is not None and _is_near_chance(seen.top1_float, manifest):
        yield (
            f"warning: the source model itself has only {seen.top1_float:.1f} % top-1: "
            "check the labels, and that the samples are preprocessed as in training"
        )
    for artifact in manifest.artifacts:
        yield from _weak_outputs(artifact)
    if manifest.calibration is not None and manifest.calibration.samples < _FEW_SAMPLES:
        yield (
            f"warning: calibrated on {manifest.calibration.samples} samples: what they do not show has no place in the "
            "ranges; give a few dozen that look like what the model will see"
        )
    if manifest.settings["eval"] is not None:
        judged = f"{seen.samples} evaluation samples"
    elif manifest.calibration is not None:
        others = "" if seen.top1_agreement is None else " (--eval judges on others)"
        judged = f"the {seen.samples} calibration samples themselves{others}"
    else:
        judged = f"{seen.samples} random samples, as no data was given"
    yield f"verified on {judged}; wrote {manifest.folder / 'manifest.json'}"


def _weak_outputs(artifact: "Artifact") -> Iterator[str]:
    """The output that kept least, where that is much less than the sums over all outputs tell."""
    seen = artifact.verification
    least = min(seen.parts, key=lambda part: part.sqnr_db, default=None)
    if least is not None and least.sqnr_db < min(_WEAK_DB, seen.sqnr_db):
        figures = f"{least.sqnr_db:.1f} dB SQNR, cosine {least.cosine:.3f}"
        yield f"warning: {artifact.path}: {least.spelt} alone has {figures}"


def _is_near_chance(top1: float, manifest: "Manifest") -> bool:
    """Below three times guessing, or, of few classes, in the lowest quarter above guessing."""
    sizes = [output.shape[1] for output in manifest.model.outputs if len(output.shape) == 2]
    chance = 100 / max(2, *sizes, 2)
    return top1 < min(3 * chance, chance + (100 - chance) / 4)


def _show_fallback(console: Console, artifact: "Artifact") -> None:
    if artifact.delegation is not None and artifact.delegation.fallback:
        named: dict[str, list[str]] = {}
        for fallback in artifact.delegation.fallback:
            named.setdefault(f"{fallback.op} ({fallback.reason})", []).append(fallback.node)
        what = "; ".join(f"{len(nodes)}x {op}, first {nodes[0]}" for op, nodes in named.items())
        console.print(f"{artifact.path}: fell back: {what}", markup=False, soft_wrap=True)


def _spell(tensor: "TensorSpec") -> str:
    shape = "x".join(map(str, tensor.shape))
    return f"{tensor.name} {tensor.dtype}[{shape}]"
