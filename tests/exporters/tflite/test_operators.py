"""Without the schema there is one line that says what to install."""

import sys

import pytest

from edgekit.errors import DependencyError
from edgekit.exporters.tflite.operators import load_schema


def test_a_missing_schema_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(DependencyError, match="pip install ai-edge-litert"):
        load_schema()
