"""``edgekit verify``: its flags."""

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.app import Json, app


@app.command()
def verify(
    manifest: Annotated[Path, typer.Argument(metavar="DIR_OR_MANIFEST", help="manifest.json, or its folder.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Samples to compare on; by default those that the manifest names.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="The source model, when it is not where the manifest says.")
    ] = None,
    hashes_only: Annotated[bool, typer.Option("--hashes-only", help="Do not compare with the source model.")] = False,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Also run the kernels of the targets' CPUs in an emulator (no timing).")
    ] = False,
    cpu: Annotated[
        list[str] | None,
        typer.Option("--cpu", help="Emulate cortex-a53, cortex-a76, i8mm or haswell instead (repeatable)."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Only the artifacts of this target (repeatable).")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Compare on N samples, spread evenly; emulated: 4 by default.")
    ] = None,
    sysroot: Annotated[
        Path | None,
        typer.Option("--sysroot", help="Emulate with this folder of the other machine's files; built by default."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of this machine's runtimes.")] = None,
    json_: Json = False,
) -> None:
    """Check artifacts against their hashes and their source model; with --emulate, on the targets' CPUs."""
    from edgekit import console
    from edgekit.console.verification import announce, show_recheck
    from edgekit.verification import recheck

    found = recheck.verify(
        manifest,
        data=data,
        model=model,
        hashes_only=hashes_only,
        emulate=emulate,
        cpu=cpu,
        target=target,
        samples=samples,
        sysroot=sysroot,
        threads=threads,
        progress=console.progress(),
        announce=announce,
    )
    show_recheck(found)
    if json_:
        console.print_json(found.to_json())
