"""An old and a new run: which results belong together, their ratios, and what makes them hard to compare."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from edgekit.benchmarking.results import Report, Result
from edgekit.errors import GateError, HistoryError, UsageError
from edgekit.history.documents import Found
from edgekit.history.intervals import REPEATABILITY, median_ratio, ratio_interval
from edgekit.history.notes import notes_of_results, notes_of_runs, why_invalid

Verdict = Literal["faster", "slower", "no clear difference", "unknown"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One artifact in both runs. ``ratio`` is new over old median; positions count from 0 in each run.

    ``verdict`` is "faster" or "slower" when the 95 % interval excludes 1 and the ratio is beyond what two calls on the
    same artifact agree within (5 %; within one run, where both were measured in turns, the interval alone decides);
    "unknown" when a figure is not valid or nothing is known of its spread.
    """

    old: Result
    new: Result
    old_position: int
    new_position: int
    ratio: float | None
    ratio_ci: tuple[float, float] | None
    verdict: Verdict
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The new artifact's file name."""
        return Path(self.new.path).name

    def to_json(self) -> dict[str, Any]:
        """One entry of ``comparisons``."""
        return {
            "name": self.name,
            "runtime": self.new.runtime,
            "delegate": self.new.delegate,
            "threads": self.new.threads,
            "old": _result_json(self.old, self.old_position),
            "new": _result_json(self.new, self.new_position),
            "ratio": self.ratio,
            "ratio_ci": self.ratio_ci and list(self.ratio_ci),
            "verdict": self.verdict,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side; ``only_old`` and ``only_new`` are the paths of what the other one does not have.

    They are empty where one result of the other run was asked for.
    """

    old: Report
    new: Report
    pairs: tuple[Pair, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of ``edgekit history compare --json`` (schema 1)."""
        return {
            "schema": 1,
            "old": _run_json(self.old),
            "new": _run_json(self.new),
            "interleaved": self.old.run_id == self.new.run_id,
            "comparisons": [pair.to_json() for pair in self.pairs],
            "only_old": list(self.only_old),
            "only_new": list(self.only_new),
            "notes": list(self.notes),
        }

    def require(self, fail_above: float) -> None:
        """Raise GateError when a new median is more than ``fail_above`` times the old one, or cannot be judged.

        An artifact that the new run lacks cannot be judged either. The ratio itself is judged and not its interval: no
        run passes because it was noisy. Raises UsageError for a limit that is none.
        """
        check_limit(fail_above)
        faults = [fault for pair in self.pairs if (fault := _fault(pair, fail_above))]
        why = "" if self.new.complete else ", which was not finished"
        faults += [f"{path} is missing in the new run{why}" for path in self.only_old]
        if faults:
            raise GateError("; ".join(faults))


def check_limit(fail_above: float) -> None:
    """Raise UsageError for what is no ratio."""
    if not (math.isfinite(fail_above) and fail_above > 0):
        raise UsageError(f"--fail-above {fail_above}: expected a ratio above 0, like 1.05")


def compare_reports(old: Found, new: Found) -> Comparison:
    """Match the results of two runs by file name, runtime, delegate and threads, and compare each pair.

    Of several that match, those in the most alike paths belong together, then those with the same sha256. Two results
    that were each asked for by position are compared whatever they are. Raises HistoryError when nothing matches.
    """
    matches = _match(old, new)
    if not matches:
        raise HistoryError(
            f"run {old.report.run_id} has {_spell(old.results)}, run {new.report.run_id} has {_spell(new.results)}: "
            "no file name, runtime, delegate and threads in common; name two results as RUN:INDEX to compare them"
        )
    paired = old.report.run_id == new.report.run_id
    return Comparison(
        old=old.report,
        new=new.report,
        pairs=tuple(_pair(old, new, before, after, paired) for after, before in sorted(matches.items())),
        only_old=_paths(old, matches.values()) if new.position is None else (),
        only_new=_paths(new, matches) if old.position is None else (),
        notes=notes_of_runs(old.report, new.report),
    )


def _paths(found: Found, matched: Collection[int]) -> tuple[str, ...]:
    """Of what is not matched."""
    return tuple(each.path for at, each in found.results.items() if at not in matched)


def _match(old: Found, new: Found) -> dict[int, int]:
    """The old position of each new one."""
    if old.position is not None and new.position is not None:
        return {new.position: old.position}
    likeness = sorted(
        (
            (-_shared_tail(before.path, after.path), before.sha256 != after.sha256, abs(at - to), at, to)
            for at, before in old.results.items()
            for to, after in new.results.items()
            if _key(before) == _key(after)
        ),
    )
    matches: dict[int, int] = {}
    for *_, at, to in likeness:
        if to not in matches and at not in matches.values():
            matches[to] = at
    return matches


def _pair(old: Found, new: Found, before: int, after: int, paired: bool) -> Pair:
    first, second = old.report.results[before], new.report.results[after]
    ratio = median_ratio(first, second)
    interval = ratio_interval(first, second, paired=paired)
    invalid = why_invalid(first) or why_invalid(second)
    return Pair(
        old=first,
        new=second,
        old_position=before,
        new_position=after,
        ratio=ratio,
        ratio_ci=interval,
        verdict="unknown" if invalid else _judge(ratio, interval, 1.0 if paired else REPEATABILITY),
        notes=notes_of_results(first, second),
    )


def _judge(ratio: float | None, interval: tuple[float, float] | None, repeatability: float) -> Verdict:
    if ratio is None or interval is None:
        return "unknown"
    if interval[0] > 1 and ratio > repeatability:
        return "slower"
    if interval[1] < 1 and ratio < 1 / repeatability:
        return "faster"
    return "no clear difference"


def _fault(pair: Pair, fail_above: float) -> str | None:
    for word, result in (("old", pair.old), ("new", pair.new)):
        if reason := why_invalid(result):
            return f"{pair.name}: cannot be judged, the {word} figure is {reason}; measure it again"
    if pair.ratio is None:
        return f"{pair.name}: cannot be judged, {pair.old.median_ms} ms and {pair.new.median_ms} ms have no ratio"
    if pair.ratio <= fail_above:
        return None
    interval = pair.ratio_ci and f" (95 % interval {pair.ratio_ci[0]:.3f} to {pair.ratio_ci[1]:.3f})"
    return (
        f"{pair.new.path}: {pair.old.median_ms:.4g} -> {pair.new.median_ms:.4g} ms is {pair.ratio:.3f}x{interval or ''}"
        f", above {fail_above:g}x"
    )


def _key(result: Result) -> tuple[str, str, str | None, int]:
    return Path(result.path).name, result.runtime, result.delegate, result.threads


def _shared_tail(first: str, second: str) -> int:
    """How many components two paths have in common, from the end."""
    pairs = zip(reversed(Path(first).parts), reversed(Path(second).parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _spell(results: Mapping[int, Result]) -> str:
    named = [
        f"{Path(each.path).name} ({', '.join(filter(None, (each.runtime, each.delegate)))}, {each.threads} threads)"
        for each in results.values()
    ]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "") or "no results"


def _run_json(report: Report) -> dict[str, Any]:
    return {"run": report.run_id, "started": report.started, "complete": report.complete, "device": report.device.name}


def _result_json(result: Result, position: int) -> dict[str, Any]:
    names = ("path", "sha256", "runtime_version", "runs", "median_ms", "p90_ms", "p99_ms", "cv", "throttled", "valid")
    return {"index": position} | {name: getattr(result, name) for name in names}
