"""Prune until every goal is met by measure: what the model of the costs missed, the next attempt aims lower.

One that is met with room to spare, as the model promised too little, is aimed at higher: a machine that was busy while
the model was measured would cost accuracy otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import onnx_ir as ir

from edgekit.artifacts import StagedArtifact
from edgekit.errors import GateError
from edgekit.passes.prune import Budget, Pruned
from edgekit.passes.prune.selection import Selection
from edgekit.pruning.goals import Cost, Goal, Reading

ATTEMPTS = 4

_LOOSE = 0.1
"""Of the limit: so much room to spare is worth another attempt."""
_HIGHER = 0.02
"""Of the limit: an aim that is higher by less gives the same network."""

Trial = Callable[[ir.Model], Sequence[StagedArtifact]]
"""Writes quick artifacts of a pruned graph."""


class AnyPruner(Protocol):
    """What of edgekit.passes.prune.Pruner is used."""

    def prune(self, budget: float | Budget) -> Pruned:
        """Remove channels until the budget is met, where it costs least."""
        ...


def meet(pruner: AnyPruner, goals: Sequence[Goal], trial: Trial, smallest: Callable[[Cost], Selection]) -> Pruned:
    """The least pruned network that meets all goals, as far as ATTEMPTS tell; ``smallest``: what costs least of all.

    Raises GateError when a goal cannot be met, or has not been after so many attempts; it says what was reached.
    """
    aims = {goal.flag: goal.limit for goal in goals}
    best: dict[str, Reading] = {}
    found: Pruned | None = None
    for _ in range(ATTEMPTS):
        pruned = _prune(pruner, goals, aims, best)
        measured = _measured(goals, pruned, trial)
        best = {flag: min(value, best.get(flag, value)) for flag, value in measured.items()}
        missed = [goal for goal in goals if goal.flag in measured and measured[goal.flag].value > goal.limit]
        if not missed:
            found = pruned
            higher = _higher_aim(goals, aims, pruned, measured)
            if higher is None:
                return pruned
            aims[goals[0].flag] = higher
        elif found is not None:
            return found
        for goal in missed:
            foretold = goal.cost(pruned.selection.kept, pruned.selection.dropped)
            lower = lower_aim(goal, aims[goal.flag], foretold, measured[goal.flag].value)
            # What cannot be aimed at is not asked for: the least there is is the last attempt.
            least = smallest(goal.cost)
            aims[goal.flag] = max(lower, goal.cost(least.kept, least.dropped))
    if found is not None:
        return found
    raise _not_met(goals, best)


def _higher_aim(
    goals: Sequence[Goal], aims: Mapping[str, float], pruned: Pruned, measured: Mapping[str, Reading]
) -> float | None:
    """What to aim at when a single goal is met with room to spare; None when it is not, or a higher aim is no other."""
    goal = goals[0]
    if len(goals) > 1 or goal.flag not in measured or measured[goal.flag].value > (1 - _LOOSE) * goal.limit:
        return None
    foretold = goal.cost(pruned.selection.kept, pruned.selection.dropped)
    saving = goal.before - measured[goal.flag].value
    higher = goal.before - (goal.before - goal.limit) * (goal.before - foretold) / saving
    return higher if higher > aims[goal.flag] + _HIGHER * goal.limit and higher < goal.before else None


def lower_aim(goal: Goal, aim: float, foretold: float, measured: float) -> float:
    """What to aim at next when a selection of the cost ``foretold`` turned out to have the cost ``measured``.

    What was foretold to be saved is scaled by what was; at least what is missing is taken off.
    """
    foretold_saving, saving = goal.before - foretold, goal.before - measured
    least = aim - (measured - goal.limit)
    if foretold_saving <= 0 or saving <= 0:
        return least
    return min(least, goal.before - (goal.before - goal.limit) * foretold_saving / saving)


def _prune(pruner: AnyPruner, goals: Sequence[Goal], aims: Mapping[str, float], best: Mapping[str, Reading]) -> Pruned:
    try:
        return pruner.prune(_budget(goals, aims))
    except GateError as error:
        if best:  # the message tells of an aim that nobody asked for
            raise _not_met(goals, best) from error
        if len(goals) == 1:
            raise
    for goal in goals:
        pruner.prune(_budget([goal], aims))
    raise GateError(f"{' '.join(goal.flag for goal in goals)}: each can be met, but not all at once; give fewer")


def _budget(goals: Sequence[Goal], aims: Mapping[str, float]) -> Budget:
    """One budget of all goals: where there are several, the shares by which they are exceeded are added up."""
    if len(goals) == 1:
        (goal,) = goals
        return Budget(goal.cost, aims[goal.flag], goal.unit, goal.flag, _speller(goal))

    def cost(kept: Mapping[str, int], dropped: frozenset[str]) -> float:
        return 1.0 + sum(max(0.0, goal.cost(kept, dropped) - aims[goal.flag]) / goal.before for goal in goals)

    return Budget(cost, 1.0, "of the budgets", " ".join(goal.flag for goal in goals))


def _speller(goal: Goal) -> Callable[[Selection], str]:
    return lambda selection: goal.spell_reading(goal.foretell(selection.kept, selection.dropped))


def _measured(goals: Sequence[Goal], pruned: Pruned, trial: Trial) -> dict[str, Reading]:
    if all(goal.measure is None for goal in goals):
        return {}
    artifacts = trial(pruned.model)
    return {goal.flag: goal.measure(artifacts) for goal in goals if goal.measure is not None}


def _not_met(goals: Sequence[Goal], best: Mapping[str, Reading]) -> GateError:
    missed = [goal for goal in goals if goal.flag in best and best[goal.flag].value > goal.limit] or list(goals)
    reached = "; ".join(
        f"{goal.flag}: {goal.spell_reading(best[goal.flag])} were reached" for goal in missed if goal.flag in best
    )
    return GateError(f"{reached}; nothing below could be; allow more, or choose a smaller model or precision")
