"""What the target's accelerator takes of an artifact: asked of the runtime, or read from the profile, or unknown."""

from pathlib import Path

from edgekit.exporters.tflite.operators import list_operators
from edgekit.profiles.target import RuntimeProfile
from edgekit.runtimes import Delegation, Fallback


def target_delegation(runtime: RuntimeProfile, path: Path, asked: Delegation | None) -> Delegation | None:
    """``asked`` is this machine's runtime's answer; it counts only when the target has the same accelerator.

    A delegate that is not here is judged by the profile's list; without one nothing is known, and None is returned.
    """
    if runtime.is_asked:
        return asked
    if runtime.accelerated_ops is None:
        return None
    operators = list(list_operators(path))
    fallback = tuple(
        Fallback(op, node, f"the {runtime.accelerator} delegate does not take it")
        for op, node in operators
        if op not in runtime.accelerated_ops
    )
    return Delegation(len(operators) - len(fallback), len(operators), fallback)
