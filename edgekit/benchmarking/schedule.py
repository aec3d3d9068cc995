"""How often and how long artifacts are measured."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from edgekit.benchmarking.runners import Limits

_FULL_ROUNDS = 16
_QUICK_ROUNDS = 8

# A program tells the time of each run, and no more of them than Limits.max_runs: a long trial of a fast artifact would
# end before its time. Another round begins anew; models of 25 us and more reach the duration.
_LONGEST_TRIAL_S = 5.0

# Starting a program, and loading a large model on a slow board, come before what the limits bound.
_STARTUP_S = 180.0
_TIMEOUT_FACTOR = 3.0

# To time its operations, a program loads the model again and runs it so often, or for so long.
_PROFILE_RUNS = 10
_PROFILE_S = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rounds, the limits of each trial, and for how many threads on which cores (empty: unpinned) they are."""

    threads: int
    cores: tuple[int, ...]
    cool_down_s: float
    rounds: int
    limits: Limits
    profile: bool = False

    @classmethod
    def full(cls, threads: int, cores: tuple[int, ...], cool_down_s: float) -> Self:
        """At least 1024 runs or 60 s of each artifact."""
        limits = _limits(_FULL_ROUNDS, runs=1024, longest_s=60.0, shortest_s=0.25, warmup_s=5.0)
        return cls(threads, cores, cool_down_s, _FULL_ROUNDS, limits)

    def quick(self) -> Self:
        """At least 128 runs or 10 s of each artifact."""
        limits = _limits(_QUICK_ROUNDS, runs=128, longest_s=10.0, shortest_s=0.1, warmup_s=2.0)
        return replace(self, rounds=_QUICK_ROUNDS, limits=limits)

    def lasting(self, duration_s: float) -> Self:
        """``duration_s`` seconds of each artifact, however many runs these are; in more rounds when it is long.

        A trial that does ``max_runs`` runs sooner ends sooner.
        """
        rounds = max(self.rounds, math.ceil(duration_s / _LONGEST_TRIAL_S))
        each = duration_s / rounds
        return replace(self, rounds=rounds, limits=replace(self.limits, min_s=each, max_s=each))

    @property
    def timeout_s(self) -> float:
        """After how long a trial is taken to hang."""
        return _STARTUP_S + _TIMEOUT_FACTOR * (self.limits.warmup_s + self.limits.max_s)

    def profile_timeout_s(self, run_ms: float) -> float:
        """The same for a trial that also times operations, of an artifact that takes ``run_ms``."""
        profiling_s = max(_PROFILE_S, _PROFILE_RUNS * run_ms / 1000)
        return self.timeout_s + _STARTUP_S + _TIMEOUT_FACTOR * profiling_s

    def to_json(self) -> dict[str, Any]:
        """For the report's ``settings``."""
        return asdict(self) | {"cores": list(self.cores)}


def _limits(rounds: int, *, runs: int, longest_s: float, shortest_s: float, warmup_s: float) -> Limits:
    # A fast artifact does more runs than asked: a few milliseconds are no sample of what the machine does.
    return Limits(warmup_s=warmup_s, min_runs=math.ceil(runs / rounds), min_s=shortest_s, max_s=longest_s / rounds)
