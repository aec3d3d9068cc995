"""The tables of ``edgekit inspect``."""

from typing import TYPE_CHECKING

from edgekit.console.terminal import new_table, output_console, spell_accelerated

if TYPE_CHECKING:
    from edgekit.inspection import Inspection


def show_inspection(found: "Inspection") -> None:
    """Inputs, outputs, size, ops and, per target, what is supported and accelerated."""
    console = output_console()
    console.print(f"{found.path} ({found.format})", markup=False)
    tensors = new_table("", "name", "dtype", "shape")
    for kind, group in (("input", found.inputs), ("output", found.outputs)):
        for tensor in group:
            tensors.add_row(kind, tensor.name, tensor.dtype, "x".join(map(str, tensor.shape)) or "scalar")
    console.print(tensors)
    console.print(f"parameters {found.parameters:,}   MACs {found.macs:,}   ops {sum(found.ops.values()):,}")
    console.print("  ".join(f"{op} {count}" for op, count in found.ops.items()), markup=False)
    if found.targets:
        table = new_table("target", "format", "precision", "supported", "#accelerated", "what falls back or is missing")
        for row in found.targets:
            table.add_row(
                row.target,
                row.format,
                row.precision,
                "no" if row.unsupported else "yes",
                spell_accelerated(row.delegation),
                row.explanation(),
            )
        console.print(table)
