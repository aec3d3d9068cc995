"""tf2onnx put right; its classes are changed, so each test runs in a process of its own."""

import subprocess
import sys

import pytest

pytest.importorskip("tf2onnx")

_CONSTANTS = """
import numpy as np
from tf2onnx.graph import Graph
from edgekit.importers.tensorflow_worker.tf2onnx_fixes import run_tf2onnx

def convert():
    graph = Graph([], opset=18)
    constant = graph.make_const("weights", np.arange(6, dtype=np.float32))
    graph.update_proto()
    written = constant.op.attribute[0]
    graph.update_proto()
    assert constant.op.attribute[0] is written, "written again though nothing changed"
    constant.set_tensor_value(np.full(3, 7, np.float32))
    graph.update_proto()
    assert constant.op.attribute[0] is not written
    assert list(constant.op.attribute[0].t.dims) == [3]
    again = constant.op.attribute[0]
    graph.update_proto()
    assert constant.op.attribute[0] is again
    assert constant.get_tensor_value() == [7, 7, 7]
    print("converted")

run_tf2onnx(convert)
"""


def test_constants_are_written_when_they_change():
    """Each time they are written leaves a copy behind, until the process ends."""
    done = subprocess.run([sys.executable, "-c", _CONSTANTS], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "converted", done.stderr
