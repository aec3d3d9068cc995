"""The table of ``edgekit verify``."""

from typing import TYPE_CHECKING

from edgekit.console.narrow import print_table
from edgekit.console.terminal import error_console, new_table, spell_number

if TYPE_CHECKING:
    from edgekit.emulation.agreement import Emulated
    from edgekit.verification.recheck_report import Recheck


def announce(text: str) -> None:
    """Say something before it is done, also where no bar is drawn."""
    error_console().print(text, markup=False, soft_wrap=True)


def show_recheck(recheck: "Recheck") -> None:
    """One row per artifact; one column per emulated CPU, with the largest difference from this machine."""
    cpus = list(dict.fromkeys(emulated.cpu for artifact in recheck.artifacts for emulated in artifact.emulated))
    labelled = any(each.verification is not None and each.verification.top1 is not None for each in recheck.artifacts)
    accuracy = ("#top-1 %", "#float %") if labelled else ()
    compared = (*accuracy, "#agreement %", "#SQNR dB") if recheck.model is not None else ()
    table = new_table("artifact", "precision", "file", *compared, *(f"#{cpu}" for cpu in cpus))
    for artifact in recheck.artifacts:
        seen = artifact.verification
        figures = []
        if seen is not None:
            figures = [spell_number(seen.top1), spell_number(seen.top1_float)] if labelled else []
            figures += [spell_number(seen.top1_agreement), spell_number(seen.sqnr_db, 1)]
        emulated = {each.cpu: each for each in artifact.emulated}
        table.add_row(
            artifact.artifact.path,
            artifact.artifact.precision,
            "unchanged",
            *figures,
            *(_spell_emulated(emulated[cpu]) if cpu in emulated else "" for cpu in cpus),
        )
    console = error_console()
    print_table(console, table)
    for note in (*recheck.notes, *_conclusions(recheck, cpus)):
        console.print(note, markup=False, soft_wrap=True)


def _spell_emulated(emulated: "Emulated") -> str:
    """``0 LSB``, ``3 LSB, RMS 0.71``, or ``1e-06`` for what computes in float."""
    if emulated.max_lsb is None or emulated.rms_lsb is None:
        return f"{emulated.max_relative_error:.0e}"
    if emulated.max_lsb < 1.5:
        return f"{emulated.max_lsb:.0f} LSB"
    return f"{emulated.max_lsb:.0f} LSB, RMS {emulated.rms_lsb:.2f}"


def _conclusions(recheck: "Recheck", cpus: list[str]) -> list[str]:
    told = []
    if cpus:
        told += _spell_emulated_notes(recheck)
        told.append("emulated columns: the largest difference from this machine's outputs (LSB, or relative)")
    if recheck.model is None or recheck.data is None:
        told.append("the files are unchanged; not compared with the source model (--hashes-only)")
    else:
        told.append(f"verified against {recheck.model} on {recheck.data.spell()}")
    return told


def _spell_emulated_notes(recheck: "Recheck") -> list[str]:
    """One line for each artifact and limit that is not the usual one, with the CPUs that it is of."""
    cpus: dict[tuple[str, str], list[str]] = {}
    for artifact in recheck.artifacts:
        for emulated in artifact.emulated:
            for note in emulated.notes:
                told = note if emulated.lost_db is None else f"{note}: {_spell_lost(emulated.lost_db)}"
                cpus.setdefault((artifact.artifact.path, told), []).append(emulated.cpu)
    return [f"{path} on {', '.join(names)}: {told}" for (path, told), names in cpus.items()]


def _spell_lost(lost_db: float) -> str:
    return (
        f"warning: more than one LSB; roundings that add up, with {abs(lost_db):.1f} dB "
        f"{'less' if lost_db > 0 else 'more'} SQNR against the source than on this machine"
    )
