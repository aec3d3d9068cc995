"""What is said of the artifacts that failed: each thing once, with the files that it is true of."""

from collections.abc import Mapping, Sequence

from edgekit.verification.comparison import Subject
from edgekit.verification.judgement import Shortfall


def spell_failures(failures: Mapping[Subject, Sequence[Shortfall]]) -> str:
    """``x/a.tflite, .onnx: cosine 0.5, at least 0.95 wanted``; where values differ, each has its files before it."""
    alike: dict[str, list[str]] = {}
    differing = []
    for (metric, wanted), labels_by_value in _by_metric(failures).items():
        (names, value), *others = ((_names(labels), value) for value, labels in labels_by_value.items())
        if others:
            told = [f"{names}: {metric} {value}", *(f"{names}: {value}" for names, value in others)]
            differing.append(f"{' and '.join(told)}, {wanted}")
        else:
            alike.setdefault(names, []).append(Shortfall(metric, value, wanted).sentence)
    return "; ".join([*(f"{names}: {', and '.join(found)}" for names, found in alike.items()), *differing])


def _names(labels: Sequence[str]) -> str:
    """``x/a.tflite, .onnx``: of files that differ from the one before in their endings alone, these."""
    told, before = [], ""
    for label in labels:
        stem, dot, ending = label.rpartition(".")
        told.append(f".{ending}" if dot and stem == before else label)
        before = stem
    return ", ".join(told)


def _by_metric(failures: Mapping[Subject, Sequence[Shortfall]]) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Labels of subjects, by metric and what was wanted of it, and by value."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for subject, faults in failures.items():
        for fault in faults:
            if _is_told(fault, subject, failures):
                continue
            # A runtime's own errors already begin with the label.
            metric = fault.metric.removeprefix(f"{subject.label}: ")
            found.setdefault((metric, fault.wanted), {}).setdefault(fault.value, []).append(subject.label)
    return found


def _is_told(fault: Shortfall, subject: Subject, failures: Mapping[Subject, Sequence[Shortfall]]) -> bool:
    """Two formats of a target differ from each other alike; the first of them says so."""
    for earlier, faults in failures.items():
        if earlier is subject:
            return False
        if (earlier.target, earlier.format) == (subject.target, fault.other):
            return any((each.other, each.value) == (subject.format, fault.value) for each in faults)
    return False
