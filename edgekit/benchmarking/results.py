"""What was measured: the document of ``edgekit benchmark --json`` (schema 1). None is what a machine cannot tell."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgekit.benchmarking.executors import DeviceFacts
from edgekit.benchmarking.runners import OpTime

SCHEMA = 1

MODERATE = 2
"""Android's THERMAL_STATUS_MODERATE: from here on it throttles visibly."""


@dataclass(frozen=True, slots=True)
class State:
    """What a device's speed depends on, of the cores that are used: at one moment.

    ``temperature_c`` is that of the hottest zone of the processor, ``thermal_status`` Android's (0 none to 6 shutdown).
    """

    governor: str | None = None
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    thermal_status: int | None = None
    battery_percent: int | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One artifact's figures; times in milliseconds.

    ``ratio`` is this artifact's time over the first artifact's, the median of the ratios of each round, and
    ``ratio_ci`` its 95 % bootstrap confidence interval over rounds, of which it takes five. ``statistic`` says what
    ``median_ms`` is the median of: "runs", or "round medians" or "round means" where the program tells no more. ``cv``
    is the coefficient of variation of the runs. In the median, the percentiles and ``cv`` every round counts alike: a
    run weighs the less the more runs its round has. ``round_medians_ms`` has one median (or mean, for "round means")
    per measured round: calls at different times can only be compared by how much these scatter.

    ``throttled``: the device had throttled after a round, and stayed so; None when a round is not known to be free of
    it, for want of a probe. ``slowdown`` is by how many times the probe was slower, in the worst round that counts.
    ``settled``: the warm-up of every round had settled; None when no program tells. ``valid`` is what nothing is known
    to be wrong with: every round was measured, none is known as throttled, and in at most half of them the warm-up is
    known not to have settled. Not knowing does not make a result invalid.
    """

    path: str
    sha256: str
    bytes: int
    runtime: str
    runner: str
    delegate: str | None
    threads: int
    cores: tuple[int, ...]
    rounds: int
    runs: int
    statistic: str
    median_ms: float
    p90_ms: float | None
    p99_ms: float | None
    cv: float | None
    ratio: float
    ratio_ci: tuple[float, float] | None
    load_ms: float | None
    first_ms: float | None
    peak_memory_bytes: int | None
    throttled: bool | None
    valid: bool
    state: State
    state_after: State
    accelerated_ops: int | None = None
    total_ops: int | None = None
    runtime_version: str | None = None
    profile: tuple[OpTime, ...] = ()
    round_medians_ms: tuple[float, ...] = ()
    slowdown: float | None = None
    settled: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of ``results``."""
        document = asdict(self)
        document["state"] = asdict(self.state) | {"after": asdict(self.state_after)}
        del document["state_after"]
        return document


@dataclass(frozen=True, slots=True)
class Report:
    """One call of ``edgekit benchmark``. ``complete`` is false while it is measuring, and stays so when it fails."""

    run_id: str
    started: str
    device: DeviceFacts
    results: tuple[Result, ...]
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False

    def to_json(self) -> dict[str, Any]:
        """The whole document."""
        return {
            "schema": SCHEMA,
            "run": self.run_id,
            "started": self.started,
            "complete": self.complete,
            "device": asdict(self.device),
            "results": [result.to_json() for result in self.results],
            "settings": dict(self.settings),
            "environment": dict(self.environment),
        }


Journal = Callable[[Report], None]
"""Given everything that was measured so far, after each trial."""
