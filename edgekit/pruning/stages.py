"""The stages of pruning: what is to be met, prune, recover; and, when the artifacts are there, what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import onnx_ir as ir

from edgekit.artifacts import StagedArtifact
from edgekit.building import Builder, PathOf, QuickBuilder
from edgekit.errors import GateError
from edgekit.importers import ImportedModel
from edgekit.passes.prune import ImportanceName, Pruner, PruningReport, find_channel_groups
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.constants import separate_constants
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.importance.bn_scale import batch_norm_scales
from edgekit.passes.recover.report import RecoveryReport
from edgekit.pruning.comparison import Comparison, Reference, compare, is_reproducible, time_pairs, verify_unpruned
from edgekit.pruning.explanation import Explanation, explain
from edgekit.pruning.goals import Goal, share_goal, size_goal, spell_figure
from edgekit.pruning.latency import LatencyMeter, Parts, plan_latency
from edgekit.pruning.meeting import meet
from edgekit.pruning.recovery import recover_network, require_recoverable
from edgekit.pruning.requirements import common_scheme
from edgekit.pruning.settings import PruningSettings
from edgekit.pruning.timing import Paired, RuntimeStopwatch, Sample
from edgekit.release.staging import Staging
from edgekit.verification import Verified, is_classifier, random_samples
from edgekit.verification.verification import LabelledSamples

_OVERSHOT = 0.005
"""A share of the multiply-accumulates that is removed beyond what was asked, and worth a word."""


class Pruning:
    """One pruning of the canonical ``graph`` of ``source``, whose artifacts ``builder`` makes.

    The unpruned artifacts are made too, in the same precision, and never published.
    """

    def __init__(
        self, source: ImportedModel, graph: ir.Model, builder: Builder, pruning: PruningSettings, staged: Staging
    ) -> None:
        self._source, self._graph, self._builder, self._staged = source, graph, builder, staged
        self._settings, self._export = pruning, builder.settings
        self._scheme = common_scheme(builder.profiles, pruning)
        self._unpruned: Sequence[StagedArtifact] = ()
        self._network = graph
        self._report: PruningReport | None = None
        self._recovery: RecoveryReport | None = None
        self._notes: list[str] = []

    def prune_and_recover(self) -> ir.Model:
        """The network to go on with; the unpruned one when it meets all budgets.

        Raises GateError when a budget cannot be met, and DataError or DependencyError for what is missing.
        """
        builder, settings = self._builder, self._settings
        if settings.recovery is not None:
            require_recoverable(self._graph, builder)
        self._unpruned = replace(builder, what=" the unpruned network").build(self._graph, self._aside("unpruned"))
        quick = QuickBuilder(self._graph, self._sample, builder)
        goals = self._goals(quick)
        # Milliseconds are not told in a reproducible manifest.
        told = [goal for goal in goals if goal.unit != "ms" or not is_reproducible()]
        self._notes += [note for goal in told for note in goal.notes]
        if all(goal.is_met for goal in goals):
            met = "; ".join(f"{goal.flag}: it has {goal.spell(goal.before)}" for goal in goals)
            self._notes.append(f"nothing was removed, as the unpruned network meets the budget ({met})")
            return self._graph
        pruner = self._pruner()
        pruned = meet(pruner, goals, lambda model: quick.build(model, self._aside("trial")), self._parts.smallest)
        self._network, self._report = pruned.model, pruned.report
        self._notes += pruned.report.notes
        if len(goals) == 1 and settings.ratio is not None:  # of several budgets another one may be the reason
            self._notes += overshot(settings.ratio, pruned.report, self._scheme.channel_multiple)
        if settings.recovery is not None:
            recovered = recover_network(pruner, pruned, self._graph, settings.recovery, builder)
            self._network, self._recovery = recovered.model, recovered.report
            if recovered.report.warning is not None:
                self._notes.append(recovered.report.warning)
        return self._network

    def explain(self) -> Explanation:
        """For when an artifact misses its gate."""
        samples = self._builder.samples
        batch = 1 if samples is None else samples.batch
        return explain(self._report, self._recovery, samples, batch=batch, judged=self._export.eval is not None)

    def compare(
        self, verified: Sequence[tuple[StagedArtifact, Verified]], judges: LabelledSamples
    ) -> Mapping[str, Any]:
        """The manifest's ``pruning``. Raises GateError when a finished artifact is above a budget after all."""
        document: dict[str, Any] = {
            "settings": self._settings.to_json()
            | {"importance": str(self._scheme.importance), "channel_multiple": self._scheme.channel_multiple},
            "report": None if self._report is None else self._report.to_json(),
            "recovery": None if self._recovery is None else self._recovery.to_json(),
        }
        if self._report is not None:
            document |= self._compared(verified, judges).to_json()
        return document | {"notes": self._notes}

    @cached_property
    def _parts(self) -> Parts:
        graph = separate_constants(self._graph)
        groups = find_channel_groups(graph)
        branches = find_branches(graph, groups)
        costs = CostModel(graph, groups, branches)
        return Parts(graph, groups, branches, costs, self._scheme.channel_multiple)

    @cached_property
    def _sample(self) -> Sample:
        samples = self._builder.samples
        return next(iter(random_samples(self._source.inputs, 1) if samples is None else samples))

    @property
    def _stopwatch(self) -> RuntimeStopwatch:
        return RuntimeStopwatch(self._sample, self._export.threads)

    def _aside(self, folder: str) -> PathOf:
        return lambda path: self._staged.aside(f"{folder}/{path}")

    def _pruner(self) -> Pruner:
        # The canonical graph has no BatchNormalization left.
        by_scale = self._scheme.importance is ImportanceName.BN_SCALE
        scales = batch_norm_scales(self._source.model) if by_scale else None
        samples = self._builder.samples
        batch = 1 if samples is None else samples.batch
        return Pruner(self._graph, samples, self._scheme, scales=scales, progress=self._export.progress, batch=batch)

    def _goals(self, quick: QuickBuilder) -> list[Goal]:
        """What is to be met; ``quick`` writes the artifacts by which it is measured."""
        pruning, costs, unpruned = self._settings, self._parts.costs, self._unpruned
        goals = []
        if pruning.ratio is not None:
            goals.append(share_goal(pruning.ratio, costs))
        if pruning.max_bytes is not None:
            fast = quick.build(self._graph, self._aside("quick"))
            goals.append(size_goal(pruning.max_bytes, unpruned, fast, costs))
        if pruning.max_latency_ms is not None:
            meter = LatencyMeter(unpruned, quick, self._aside("narrower"))
            limit, progress = pruning.max_latency_ms, self._export.progress
            goals.append(plan_latency(limit, self._parts, meter, self._stopwatch, progress))
        return goals

    def _compared(self, verified: Sequence[tuple[StagedArtifact, Verified]], judges: LabelledSamples) -> Comparison:
        artifacts = [artifact for artifact, _ in verified]
        self._require_small(artifacts)
        before, float_ = verify_unpruned(
            self._unpruned,
            self._network,
            self._aside("float"),
            Reference(self._source.model, judges, self._export.threads, self._export.progress),
        )
        classifies = is_classifier(self._source.model, judges.labels)
        comparison = compare(self._unpruned, verified, before, float_, self._times(artifacts), classifies=classifies)
        self._notes += comparison.notes()
        return comparison

    def _times(self, artifacts: Sequence[StagedArtifact]) -> list[Paired | None]:
        """Before and after; nothing that depends on the clock is recorded in a reproducible manifest."""
        paired: list[Paired | None] = [None] * len(artifacts)
        if self._settings.max_latency_ms is not None or not is_reproducible():
            paired = time_pairs(self._unpruned, artifacts, self._stopwatch, self._export.progress)
            self._require_fast(artifacts, paired)
        if is_reproducible():
            self._notes.append("no latency is recorded, as SOURCE_DATE_EPOCH asks for a reproducible manifest")
            return [None] * len(artifacts)
        return paired

    def _require_small(self, artifacts: Sequence[StagedArtifact]) -> None:
        limit = self._settings.max_bytes
        for artifact in artifacts:
            size = artifact.staged_path.stat().st_size
            if limit is not None and size > limit:
                raise GateError(
                    f"{artifact.path}: has {size:,} bytes, at most {limit:,} wanted, although its first draft had "
                    f"less: aim lower with --max-bytes {max(2 * limit - size, 1)}, or allow {size}"
                )

    def _require_fast(self, artifacts: Sequence[StagedArtifact], paired: Sequence[Paired | None]) -> None:
        limit = self._settings.max_latency_ms
        for artifact, times in zip(artifacts, paired, strict=True):
            if limit is not None and times is not None and times.after_ms > limit:
                raise GateError(
                    f"{artifact.path}: takes {spell_figure(times.after_ms)} ms, at most {spell_figure(limit)} wanted, "
                    "although its first draft took less: is this machine busy? export again, or with a lower "
                    "--max-latency"
                )


def overshot(asked: float, report: PruningReport, channel_multiple: int) -> Iterator[str]:
    """Why a larger share of the multiply-accumulates is gone than was asked, if it is."""
    removed = 1 - report.macs_after / report.macs_before
    if removed - asked < _OVERSHOT:
        return
    why = ""
    if report.wider is not None:
        share, losses = 1 - report.wider.macs / report.macs_before, (report.wider.loss, report.wider.than)
        told = " against ".join(f"{loss:.3g}" for loss in losses)
        why = f": a wider network, {100 * share:.1f} % removed, lost more ({told})"
    elif channel_multiple > 1:
        why = f": channels go in multiples of {channel_multiple}"
    yield f"asked {100 * asked:g} %, removed {100 * removed:.1f} %{why}"
