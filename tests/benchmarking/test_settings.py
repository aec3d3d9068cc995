import re
from pathlib import Path
from typing import Any

import pytest

from edgekit.benchmarking.settings import BenchmarkSettings
from edgekit.errors import UsageError


def test_nothing_given_is_a_full_measurement_of_this_machine() -> None:
    settings = BenchmarkSettings.of({"threads": None, "out": None, "progress": None})
    assert settings.device == "local" and settings.threads is None and not settings.quick
    assert settings.out is None and settings.delegate is None


def test_paths_may_be_text(tmp_path: Path) -> None:
    settings = BenchmarkSettings.of({"out": str(tmp_path / "a.json"), "compare": tmp_path})
    assert settings.out == tmp_path / "a.json" and settings.compare == str(tmp_path)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"runtime": "tflite"}, "--runtime tflite: expected one of litert, onnxruntime, mnn"),
        ({"runtime": "litrt"}, 'did you mean "litert"?'),
        ({"delegate": "GPU"}, "--delegate GPU: expected one of xnnpack, gpu, nnapi, none"),
        ({"threads": 0}, "--threads 0: expected a whole number from 1 to 1024"),
        ({"threads": 1.5}, "--threads 1.5: expected a whole number"),
        ({"threads": 100_000}, "--threads 100000: expected a whole number"),
        ({"duration": 0}, "--duration 0: expected seconds, more than 0"),
        ({"duration": float("nan")}, "--duration nan: expected seconds"),
        ({"duration": float("inf")}, "--duration inf: expected seconds"),
        ({"thread": 2}, 'unknown argument "thread"; did you mean "threads"?'),
    ],
)
def test_what_makes_no_sense_is_one_line(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        BenchmarkSettings.of(keywords)  # type: ignore[arg-type]
