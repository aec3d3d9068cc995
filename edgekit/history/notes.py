"""In what two runs differ besides their figures: what a reader must know before believing a ratio."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from edgekit.benchmarking.results import Report, Result

_FREQUENCY_RATIO = 1.05
_TEMPERATURE_C = 10.0
_MOST = 6
_LONGEST = 40

_DEVICE = ("name", "kind", "model", "soc", "abi", "os", "fingerprint", "cores", "fixed_performance")
_RESULT = ("runner", "runtime_version", "statistic", "cores", "accelerated_ops", "total_ops")


def notes_of_runs(old: Report, new: Report) -> tuple[str, ...]:
    """What holds for all results of the two runs."""
    return tuple(_of_runs(old, new))


def notes_of_results(old: Result, new: Result) -> tuple[str, ...]:
    """What holds for one pair of results."""
    return tuple(_of_results(old, new))


def why_invalid(result: Result) -> str | None:
    """Why a figure is not to be relied on; None when it is."""
    if result.valid and not result.throttled:
        return None
    if result.throttled:
        return "throttled"
    unsettled = "the warm-up did not settle, or " if result.settled is False else ""
    return f"not valid: {unsettled}not every round was measured"


def _of_runs(old: Report, new: Report) -> Iterator[str]:
    if old.run_id == new.run_id:
        yield "both are of one run and were measured in turns: drift has hit both alike"
    else:
        yield (
            f"not measured in turns but at {_spell_start(old)} and {_spell_start(new)}: what changed on the machine "
            "between them is in the ratio"
        )
    for word, report in (("old", old), ("new", new)):
        if not report.complete:
            yield f"the {word} run was not finished"
    before, after = asdict(old.device), asdict(new.device)
    yield from _differences(
        "another device", {key: before[key] for key in _DEVICE}, {key: after[key] for key in _DEVICE}
    )
    yield from _differences("other settings", old.settings, new.settings)
    yield from _differences("another environment", old.environment, new.environment)


def _of_results(old: Result, new: Result) -> Iterator[str]:
    for word, result in (("old", old), ("new", new)):
        if reason := why_invalid(result):
            yield f"the {word} figure is {reason}"
    if old.sha256 == new.sha256:
        yield "the same file in both"
    yield from _differences(
        "measured otherwise", {key: getattr(old, key) for key in _RESULT}, {key: getattr(new, key) for key in _RESULT}
    )
    yield from _differences("another state", *_states(old, new))


def _states(old: Result, new: Result) -> tuple[dict[str, Any], dict[str, Any]]:
    """What counts of the states before measuring: small changes of frequency and temperature do not."""
    before, after = ({"governor": each.state.governor} for each in (old, new))
    first, second = old.state.frequency_mhz, new.state.frequency_mhz
    if first and second and max(first, second) / min(first, second) > _FREQUENCY_RATIO:
        before["frequency_mhz"], after["frequency_mhz"] = f"{first:.0f}", f"{second:.0f}"
    first, second = old.state.temperature_c, new.state.temperature_c
    if first is not None and second is not None and abs(first - second) > _TEMPERATURE_C:
        before["temperature_c"], after["temperature_c"] = f"{first:.0f}", f"{second:.0f}"
    before["thermal_status"], after["thermal_status"] = (
        None if each.state.thermal_status is None else str(each.state.thermal_status) for each in (old, new)
    )
    return before, after


def _differences(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """One note that names the keys whose values differ."""
    keys = [*old, *(key for key in new if key not in old)]
    changed = [
        f"{key} {_spell(old.get(key))} -> {_spell(new.get(key))}"
        for key in keys
        if _plain(old.get(key)) != _plain(new.get(key))
    ]
    if changed:
        more = f", and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
        yield f"{what}: {', '.join(changed[:_MOST])}{more}"


def _plain(value: Any) -> Any:
    """A tuple and the list that JSON made of it are the same."""
    return list(value) if isinstance(value, tuple) else value


def _spell(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _spell_start(report: Report) -> str:
    return report.started[:19]
