"""Prune until every goal is met by measure: what the model of the costs missed, the next attempt aims lower.

One that is met with room to spare, as the model promised too little, is aimed at higher: a machine that was busy while
the model was measured would cost accuracy otherwise.
"""

import math
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
_EXACT = 1e6
"""So many times more counts what exceeds the aim of a goal that is not measured: it cannot be met after all."""

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
    aims: Mapping[str, float] = {goal.flag: goal.limit for goal in goals}
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
            aims = {goals[0].flag: higher}
            continue
        if found is not None:
            return found
        aims = _next_aims(goals, aims, pruned.selection, measured, smallest)
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
    higher = _scaled_aim(goal, foretold, measured[goal.flag].value)
    return higher if higher > aims[goal.flag] + _HIGHER * goal.limit and higher < goal.before else None


def _next_aims(
    goals: Sequence[Goal],
    aims: Mapping[str, float],
    selection: Selection,
    measured: Mapping[str, Reading],
    smallest: Callable[[Cost], Selection],
) -> Mapping[str, float]:
    """Lower for what was missed. What nothing meets is not asked for: one selection is foretold to meet all of them.

    Where none does, what was met gives away its room to spare. Then what exceeds the aims least in all is aimed at;
    goals that are exact keep theirs.
    """
    lower, spare = dict(aims), dict(aims)
    for goal in (goal for goal in goals if goal.flag in measured):
        aim, value = aims[goal.flag], measured[goal.flag].value
        foretold = goal.cost(selection.kept, selection.dropped)
        if value > goal.limit:
            lower[goal.flag] = spare[goal.flag] = lower_aim(goal, aim, foretold, value)
        else:
            spare[goal.flag] = max(aim, min(_scaled_aim(goal, foretold, value), goal.before))
    for wanted in (lower, spare):
        least = smallest(_excess(goals, wanted))
        costs = {goal.flag: goal.cost(least.kept, least.dropped) for goal in goals}
        if all(costs[flag] <= aim for flag, aim in wanted.items()):
            return wanted
    return {flag: max(aim, costs[flag]) if flag in measured else aim for flag, aim in spare.items()}


def _excess(goals: Sequence[Goal], aims: Mapping[str, float]) -> Cost:
    """The shares by which a selection exceeds the aims, added up; what a selection costs where there is one goal."""
    if len(goals) == 1:
        return goals[0].cost

    def cost(kept: Mapping[str, int], dropped: frozenset[str]) -> float:
        over = [(goal, max(0.0, goal.cost(kept, dropped) - aims[goal.flag]) / goal.before) for goal in goals]
        return sum(share * (_EXACT if goal.measure is None else 1.0) for goal, share in over)

    return cost


def lower_aim(goal: Goal, aim: float, foretold: float, measured: float) -> float:
    """What to aim at next when a selection of the cost ``foretold`` turned out to have the cost ``measured``.

    What was foretold to be saved is scaled by what was; at least what is missing is taken off.
    """
    return min(aim - (measured - goal.limit), _scaled_aim(goal, foretold, measured))


def _scaled_aim(goal: Goal, foretold: float, measured: float) -> float:
    """What to aim at, to be just within the limit; infinity where what was saved does not tell."""
    foretold_saving, saving = goal.before - foretold, goal.before - measured
    if foretold_saving <= 0 or saving <= 0:
        return math.inf
    return goal.before - (goal.before - goal.limit) * foretold_saving / saving


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
    missed = [goal for goal in goals if goal.flag in best and best[goal.flag].value > goal.limit]
    reached = "; ".join(
        f"{goal.flag}: {goal.spell_reading(best[goal.flag])} were reached"
        for goal in missed or goals
        if goal.flag in best
    )
    failed = "nothing below could be" if missed else "but not all at once"
    return GateError(f"{reached}; {failed}; allow more, or choose a smaller model or precision")
