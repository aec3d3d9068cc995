"""The whole of pruning on one page: groups, prices, search, build, the better compensation, removal."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgekit.passes.prune.network import Sample
from edgekit.passes.prune.report import PruningReport
from edgekit.passes.prune.scheme import PruningScheme
from edgekit.passes.prune.selection import Selection
from edgekit.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class Budget:
    """What must be met.

    ``cost`` gives what a selection costs (multiply-accumulates, bytes, milliseconds): it must be at most ``limit``.
    ``unit`` and ``flag`` are for messages: "MACs", "bytes", "ms"; "--prune 0.25".
    """

    cost: Callable[[Mapping[str, int], frozenset[str]], float]
    limit: float
    unit: str
    flag: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """The smaller model (float, canonical), what was removed, and the report."""

    model: ir.Model
    selection: Selection
    report: PruningReport


class Pruner:
    """Prices the channels of one model once, and prunes it to any number of budgets.

    ``model`` is canonical and float, and not changed. ``samples`` are unlabelled and iterable more than once; None:
    importance from the weights alone, no compensation (DataError when ``scheme.strict`` and the importance needs data).
    """

    def __init__(
        self,
        model: ir.Model,
        samples: Iterable[Sample] | None,
        scheme: PruningScheme,
        *,
        progress: Progress | None = None,
    ) -> None:
        raise NotImplementedError

    def prune(self, budget: float | Budget) -> Pruned:
        """Remove channels until the budget is met, where it costs least.

        ``budget``: the share of multiply-accumulates to remove, in (0, 1), or a Budget. Raises UsageError for a share
        outside (0, 1), and GateError when the budget cannot be met; the message says what can be.
        """
        raise NotImplementedError


def prune(
    model: ir.Model,
    samples: Iterable[Sample] | None,
    budget: float | Budget,
    scheme: PruningScheme,
    *,
    progress: Progress | None = None,
) -> Pruned:
    """Remove channels of the canonical float ``model`` until the budget is met, where it costs least.

    Args:
        model: not changed.
        samples: unlabelled, iterable more than once; None: importance from the weights alone, and no compensation.
        budget: the share of multiply-accumulates to remove, in (0, 1), or a Budget.
        scheme: of the target.
        progress: told of each stage.

    Raises:
        UsageError: a share outside (0, 1).
        GateError: the budget cannot be met; the message says what can be.
        DataError: no samples although ``scheme.strict``.
    """
    return Pruner(model, samples, scheme, progress=progress or Silent()).prune(budget)
