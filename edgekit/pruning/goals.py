"""What must be met: a model of what a selection costs, and the measure by which the result is judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgekit.artifacts import StagedArtifact
from edgekit.interface import Precision
from edgekit.passes.prune.cost import CostModel

Cost = Callable[[Mapping[str, int], frozenset[str]], float]
"""Of units kept by group, and of branches dropped."""

Measure = Callable[[Sequence[StagedArtifact]], float]
"""Of artifacts as QuickBuilder writes them."""

_PARAMETER_BYTES = {
    Precision.INT8: 1,
    Precision.INT8_DYNAMIC: 1,
    Precision.INT8_WEIGHTS: 1,
    Precision.FP16: 2,
    Precision.FP32: 4,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One budget. ``before`` is what the unpruned network costs; ``cost`` foretells what a smaller one would.

    ``measure`` tells what it does cost; None where ``cost`` is exact.
    """

    flag: str
    unit: str
    limit: float
    before: float
    cost: Cost
    measure: Measure | None = None

    @property
    def is_met(self) -> bool:
        """Whether nothing need be removed for it."""
        return self.before <= self.limit

    def spell(self, value: float) -> str:
        """``812,345 bytes`` or ``1.93 ms``."""
        return f"{value:,.0f} {self.unit}" if value >= 1000 else f"{value:.3g} {self.unit}"


def share_goal(ratio: float, costs: CostModel) -> Goal:
    """``--prune``: at most 1 - ``ratio`` of the multiply-accumulates are left."""
    before = costs.macs({})
    return Goal(f"--prune {ratio:g}", "MACs", (1 - ratio) * before, before, lambda kept, gone: costs.macs(kept, gone))


def size_goal(
    limit: int, unpruned: Sequence[StagedArtifact], quick: Sequence[StagedArtifact], costs: CostModel
) -> Goal:
    """``--max-bytes``: no artifact is larger. ``unpruned`` are the real ones, ``quick`` those of QuickBuilder.

    Foretold is what each has beside its parameters, and the bytes of a parameter in its precision. What the real file
    of the unpruned network has more than the quick one (corrected biases) is added to what is measured.
    """
    parameters = costs.parameters({})
    each = [(_size(artifact), _PARAMETER_BYTES[artifact.precision]) for artifact in unpruned]
    more = [max(0, _size(real) - _size(fast)) for real, fast in zip(unpruned, quick, strict=True)]

    def cost(kept: Mapping[str, int], dropped: frozenset[str]) -> float:
        saved = parameters - costs.parameters(kept, dropped)
        return max(size - saved * width for size, width in each)

    def measure(artifacts: Sequence[StagedArtifact]) -> float:
        return max(_size(artifact) + extra for artifact, extra in zip(artifacts, more, strict=True))

    return Goal(f"--max-bytes {limit}", "bytes", limit, max(size for size, _ in each), cost, measure)


def _size(artifact: StagedArtifact) -> int:
    return artifact.staged_path.stat().st_size
