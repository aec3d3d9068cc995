"""Reports to record: plain ones, and any that the types allow."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from hypothesis import strategies as st

from edgekit.benchmarking.executors import DeviceFacts
from edgekit.benchmarking.results import Report, Result, State
from edgekit.benchmarking.runners import OpTime


def result(path: str = "dist/x86-64/toy.tflite", median_ms: float = 2.0, **changes: Any) -> Result:
    """A valid result of 8 rounds whose medians scatter by 1 %."""
    values: dict[str, Any] = {
        "path": path,
        "sha256": "ab" * 32,
        "bytes": 4096,
        "runtime": "litert",
        "runner": "edgekit",
        "delegate": "xnnpack",
        "threads": 1,
        "cores": (0,),
        "rounds": 8,
        "runs": 1024,
        "statistic": "runs",
        "median_ms": median_ms,
        "p90_ms": median_ms * 1.1,
        "p99_ms": median_ms * 1.3,
        "cv": 0.04,
        "ratio": 1.0,
        "ratio_ci": (0.99, 1.01),
        "load_ms": 12.5,
        "first_ms": 3.25,
        "peak_memory_bytes": 9_000_000,
        "throttled": False,
        "valid": True,
        "state": State(governor="performance", frequency_mhz=2400.0, temperature_c=41.0),
        "state_after": State(governor="performance", frequency_mhz=2400.0, temperature_c=48.0),
        "accelerated_ops": 9,
        "total_ops": 9,
        "runtime_version": "2.3.0",
        "round_medians_ms": scatter(median_ms, 0.01),
    }
    return Result(**values | changes)


def scatter(center: float, by: float, rounds: int = 8) -> tuple[float, ...]:
    """Medians of rounds, evenly spread around ``center``."""
    return tuple(center * (1 + by * (2 * at / (rounds - 1) - 1)) for at in range(rounds))


def report(
    run_id: str = "20261101-090000-aaaa",
    results: Sequence[Result] | None = None,
    *,
    started: str = "2026-11-01T09:00:00+00:00",
    **changes: Any,
) -> Report:
    """A finished run on a board."""
    values: dict[str, Any] = {
        "device": DeviceFacts("board", "ssh", model="Board 5", soc="S922X", abi="arm64-v8a", cores=(4, 5)),
        "settings": {"quick": False, "rounds": 8},
        "environment": {"edgekit": "0.1.0", "ai-edge-litert": "2.3.0"},
        "complete": True,
    }
    return Report(run_id, started, results=tuple([result()] if results is None else results), **values | changes)


def replace_state(before: Result, **changes: Any) -> Result:
    return dataclasses.replace(before, state=dataclasses.replace(before.state, **changes))


_TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
"""With lone surrogates, as paths that are not UTF-8 have them in Python."""
_INTEGERS = st.integers(-(2**70), 2**70)
_OPTIONAL_TEXTS = st.none() | _TEXTS
_FLOATS = st.floats()
_OPTIONAL_FLOATS = st.none() | _FLOATS
_OPTIONAL_INTEGERS = st.none() | _INTEGERS
_JSON = st.recursive(
    st.none() | st.booleans() | _INTEGERS | _FLOATS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)
_STATES = st.builds(
    State, _OPTIONAL_TEXTS, _OPTIONAL_FLOATS, _OPTIONAL_FLOATS, _OPTIONAL_INTEGERS, _OPTIONAL_INTEGERS, _OPTIONAL_FLOATS
)
_OPERATIONS = st.builds(OpTime, op=_TEXTS, node=_TEXTS, mean_ms=_FLOATS, accelerated=st.none() | st.booleans())
_RESULTS = st.builds(
    Result,
    path=_TEXTS.filter(lambda text: "\0" not in text),
    sha256=_TEXTS,
    bytes=_INTEGERS,
    runtime=_TEXTS,
    runner=_TEXTS,
    delegate=_OPTIONAL_TEXTS,
    threads=_INTEGERS,
    cores=st.lists(_INTEGERS, max_size=3).map(tuple),
    statistic=_TEXTS,
    median_ms=_FLOATS,
    p90_ms=_OPTIONAL_FLOATS,
    p99_ms=_OPTIONAL_FLOATS,
    cv=_OPTIONAL_FLOATS,
    ratio=_FLOATS,
    ratio_ci=st.none() | st.tuples(_FLOATS, _FLOATS),
    load_ms=_OPTIONAL_FLOATS,
    first_ms=_OPTIONAL_FLOATS,
    peak_memory_bytes=_OPTIONAL_INTEGERS,
    state=_STATES,
    state_after=_STATES,
    accelerated_ops=_OPTIONAL_INTEGERS,
    total_ops=_OPTIONAL_INTEGERS,
    runtime_version=_OPTIONAL_TEXTS,
    profile=st.lists(_OPERATIONS, max_size=3).map(tuple),
    round_medians_ms=st.lists(_FLOATS, max_size=8).map(tuple),
)
_DEVICES = st.builds(
    DeviceFacts,
    name=_TEXTS,
    kind=st.sampled_from(["local", "adb", "ssh"]),
    model=_OPTIONAL_TEXTS,
    soc=_OPTIONAL_TEXTS,
    abi=_OPTIONAL_TEXTS,
    os=_OPTIONAL_TEXTS,
    fingerprint=_OPTIONAL_TEXTS,
    cores=st.lists(_INTEGERS, max_size=3).map(tuple),
    maximum_mhz=st.lists(_OPTIONAL_FLOATS, max_size=3).map(tuple),
    siblings=st.lists(st.lists(_INTEGERS, max_size=2).map(tuple), max_size=2).map(tuple),
)
REPORTS = st.builds(
    Report,
    run_id=_TEXTS.filter(bool),
    started=st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat()),
    device=_DEVICES,
    results=st.lists(_RESULTS, max_size=3).map(tuple),
    settings=st.dictionaries(_TEXTS, _JSON, max_size=3),
    environment=st.dictionaries(_TEXTS, _TEXTS, max_size=3),
    complete=st.booleans(),
)
