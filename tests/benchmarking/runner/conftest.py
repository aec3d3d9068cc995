from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from edgekit.exporters import ExportOptions, find_exporter
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from tests.exporters.mnn import graphs
from tests.exporters.onnx.networks import random_samples_of, with_float_island

RNG = np.random.default_rng(5)
FEEDS = {
    "offset": RNG.standard_normal((1, 8, 1, 1)).astype(np.float32),
    "image": RNG.standard_normal((1, 3, 12, 12)).astype(np.float32),
}


def network() -> ir.Model:
    """Two inputs and two outputs, neither in the order of their names."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["features"], name="stem", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"], name="relu"),
        helper.make_node("Add", ["active", "offset"], ["shifted"], name="shift"),
        helper.make_node("MaxPool", ["shifted"], ["pooled"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    weight = RNG.standard_normal((8, 3, 3, 3)).astype(np.float32)
    return graphs.model(nodes, FEEDS, {"w": weight}, ["shifted", "pooled"])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same float network in every format."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for format_name in ("onnx", "tflite", "mnn"):
        paths[format_name] = folder / f"network.{format_name}"
        find_exporter(format_name).export(network(), ExportOptions(Precision.FP32), paths[format_name])
    return paths


@pytest.fixture(scope="session")
def island(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 .tflite file with an operation that XNNPACK does not take."""
    path = tmp_path_factory.mktemp("island") / "island.tflite"
    model = with_float_island("Softmax")
    quantized = quantize(model, QuantizationScheme(Precision.INT8), calibrate(model, random_samples_of(model)))
    find_exporter("tflite").export(quantized, ExportOptions(Precision.INT8), path)
    return path
