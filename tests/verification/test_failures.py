"""What is said of several artifacts that failed."""

from pathlib import Path

import pytest

from edgekit.exporters import ExportedInterface
from edgekit.profiles.gate import Gate
from edgekit.verification import Subject
from edgekit.verification.failures import spell_failures
from edgekit.verification.judgement import Shortfall


def subject(target: str, kind: str) -> Subject:
    return Subject(target, kind, Path(kind), ExportedInterface((), ()), Gate(), f"{target}/a.{kind}")


A, B, C = subject("x", "tflite"), subject("x", "onnx"), subject("y", "tflite")
LOW = Shortfall("cosine", "0.5", "at least 0.95 wanted")
LOWER = Shortfall("cosine", "0.4", "at least 0.95 wanted")
STRICT = Shortfall("cosine", "0.5", "at least 0.99 wanted")
TOP1 = Shortfall("top-1", "11 % is 80 points below the source's 91 %", "at most 3 allowed")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ({A: [LOW]}, "x/a.tflite: cosine 0.5, at least 0.95 wanted"),
        ({A: [LOW], B: [LOW]}, "x/a.tflite, .onnx: cosine 0.5, at least 0.95 wanted"),
        (
            {A: [TOP1, LOW], B: [TOP1, LOW]},
            "x/a.tflite, .onnx: top-1 11 % is 80 points below the source's 91 %, at most 3 allowed, "
            "and cosine 0.5, at least 0.95 wanted",
        ),
        ({A: [LOW], B: [LOWER]}, "x/a.tflite: cosine 0.5 and x/a.onnx: 0.4, at least 0.95 wanted"),
        ({A: [LOW], C: [STRICT]}, "x/a.tflite: cosine 0.5, at least 0.95 wanted; y/a.tflite: " + STRICT.sentence),
        (
            {A: [Shortfall("x/a.tflite: crashed")], C: [Shortfall("y/a.tflite: crashed")]},
            "x/a.tflite, y/a.tflite: crashed",
        ),
    ],
)
def test_each_thing_is_said_once_with_its_files(failures: dict[Subject, list[Shortfall]], told: str) -> None:
    assert spell_failures(failures) == told


def test_two_formats_that_differ_are_one_thing() -> None:
    mine, theirs = (
        Shortfall(f"cosine with {kind}", "0.9", "at least 0.98 wanted", kind) for kind in ("onnx", "tflite")
    )
    told = "x/a.tflite: cosine with onnx 0.9, at least 0.98 wanted"
    assert spell_failures({A: [mine], B: [theirs]}) == told
    crashed = spell_failures({A: [Shortfall("crashed")], B: [theirs]})
    assert crashed == "x/a.tflite: crashed; x/a.onnx: cosine with tflite 0.9, at least 0.98 wanted"
