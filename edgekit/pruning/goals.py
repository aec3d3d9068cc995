"""What must be met: a model of what a selection costs, and the measure by which the result is judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgekit.artifacts import StagedArtifact
from edgekit.interface import Precision
from edgekit.passes.prune.cost import CostModel

Cost = Callable[[Mapping[str, int], frozenset[str]], float]
"""Of units kept by group, and of branches dropped."""


class Reading(NamedTuple):
    """A figure, and the artifact that it is of; "" where it is of the network."""

    value: float
    path: str = ""


Measure = Callable[[Sequence[StagedArtifact]], Reading]
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

    ``measure`` tells what it does cost; None where ``cost`` is exact. ``binding``: which artifact costs that.
    """

    flag: str
    unit: str
    limit: float
    before: float
    cost: Cost
    measure: Measure | None = None
    binding: Callable[[Mapping[str, int], frozenset[str]], str] = lambda kept, dropped: ""

    @property
    def notes(self) -> Iterator[str]:
        """How far the artifact that binds is from the limit."""
        path = self.binding({}, frozenset())
        if path and not self.is_met:
            most = "slowest" if self.unit == "ms" else "largest"
            share = f"{self.limit / self.before:.2f}x of the {self.spell(self.before)} of {path}"
            yield f"{self.flag}: every artifact has to meet it: {share}, the {most} unpruned"

    @property
    def is_met(self) -> bool:
        """Whether nothing need be removed for it."""
        return self.before <= self.limit

    def spell(self, value: float) -> str:
        """``812,345 bytes`` or ``1.93 ms``."""
        return f"{spell_figure(value) if self.unit == 'ms' else f'{value:,.0f}'} {self.unit}"

    def spell_reading(self, reading: Reading) -> str:
        """``812,345 bytes (x86-64/model.onnx)``."""
        return self.spell(reading.value) + (f" ({reading.path})" if reading.path else "")

    def foretell(self, kept: Mapping[str, int], dropped: frozenset[str]) -> Reading:
        """What a selection costs, and the artifact that costs it."""
        return Reading(self.cost(kept, dropped), self.binding(kept, dropped))


def spell_figure(value: float) -> str:
    """Three digits that count, never with an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return np.format_float_positional(float(f"{value:.3g}"), trim="-")


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

    def sizes(kept: Mapping[str, int], dropped: frozenset[str]) -> list[float]:
        saved = parameters - costs.parameters(kept, dropped)
        return [size - saved * width for size, width in each]

    def cost(kept: Mapping[str, int], dropped: frozenset[str]) -> float:
        return max(sizes(kept, dropped))

    def binding(kept: Mapping[str, int], dropped: frozenset[str]) -> str:
        return unpruned[int(np.argmax(sizes(kept, dropped)))].path

    def measure(artifacts: Sequence[StagedArtifact]) -> Reading:
        found = [_size(artifact) + extra for artifact, extra in zip(artifacts, more, strict=True)]
        return Reading(max(found), unpruned[int(np.argmax(found))].path)

    return Goal(f"--max-bytes {limit}", "bytes", limit, max(size for size, _ in each), cost, measure, binding)


def _size(artifact: StagedArtifact) -> int:
    return artifact.staged_path.stat().st_size
