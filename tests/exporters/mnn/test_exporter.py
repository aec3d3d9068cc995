"""The files as wholes: names, precisions, equal bytes, exports beside each other, interruption."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from edgekit.errors import ModelError, UnsupportedError
from edgekit.exporters import ExportOptions
from edgekit.exporters.mnn import MnnExporter, converter
from edgekit.importers import import_model
from edgekit.interface import IoType, Layout, Precision, TensorSpec
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.quantize import QuantizationScheme, quantize
from tests import toy
from tests.exporters.mnn import graphs

RNG = np.random.default_rng(2)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def classifier_graph(classifier: Path) -> ir.Model:
    return canonicalize(import_model(classifier).model)


@pytest.fixture(scope="module")
def int8_graph(classifier_graph: ir.Model) -> ir.Model:
    return graphs.quantized(classifier_graph, [{"image": pixels[None]} for pixels in toy.images(48, seed=11)[0]])


def test_int8_agrees_with_onnxruntime(int8_graph: ir.Model, tmp_path: Path) -> None:
    path = graphs.export(int8_graph, tmp_path / "toy.mnn", Precision.INT8)
    pixels, classes = toy.images(100, seed=12)
    expected = np.concatenate([graphs.run_onnxruntime(int8_graph, {"image": each[None]})["logits"] for each in pixels])
    with graphs.RuntimeProcess("mnn", path) as process:
        actual = np.concatenate([process.run({"image": each[None]})["logits"] for each in pixels])
        delegation = process.delegation()
    assert (actual.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert (actual.argmax(1) == classes).mean() > 0.9
    assert delegation is not None
    assert delegation.accelerated_ops == delegation.total_ops, delegation.fallback


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8_WEIGHTS, Precision.INT8_DYNAMIC])
def test_other_precisions_compute_the_same_graph(
    precision: Precision, classifier_graph: ir.Model, tmp_path: Path
) -> None:
    graph = quantize(classifier_graph, QuantizationScheme(precision))
    path = graphs.export(graph, tmp_path / "toy.mnn", precision)
    feeds = {"image": toy.images(1, seed=4)[0]}
    expected, actual = graphs.run_onnxruntime(graph, feeds), graphs.run_mnn(path, feeds)
    np.testing.assert_allclose(actual["logits"], expected["logits"], rtol=1e-4, atol=1e-4)


def test_sizes(classifier_graph: ir.Model, tmp_path: Path) -> None:
    sizes = {}
    for precision in (Precision.FP32, Precision.FP16, Precision.INT8_WEIGHTS):
        graph = quantize(classifier_graph, QuantizationScheme(precision))
        sizes[precision] = graphs.export(graph, tmp_path / f"{precision}.mnn", precision).stat().st_size
    assert sizes[Precision.FP16] < 0.75 * sizes[Precision.FP32]
    assert sizes[Precision.INT8_WEIGHTS] < 0.6 * sizes[Precision.FP32]


def test_two_exports_are_byte_identical(int8_graph: ir.Model, tmp_path: Path) -> None:
    files = [graphs.export(int8_graph, tmp_path / f"{number}.mnn", Precision.INT8) for number in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_exports_beside_each_other(int8_graph: ir.Model, classifier_graph: ir.Model, tmp_path: Path) -> None:
    alone = graphs.export(int8_graph, tmp_path / "alone.mnn", Precision.INT8).read_bytes()
    float_alone = graphs.export(classifier_graph, tmp_path / "float.mnn").read_bytes()
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(graphs.export, int8_graph, tmp_path / "a.mnn", Precision.INT8),
            pool.submit(graphs.export, classifier_graph, tmp_path / "b.mnn", Precision.FP32),
            pool.submit(graphs.export, int8_graph, tmp_path / "c.mnn", Precision.INT8),
            pool.submit(graphs.export, classifier_graph, tmp_path / "d.mnn", Precision.FP32),
        ]
        contents = [job.result().read_bytes() for job in jobs]
    assert contents == [alone, float_alone, alone, float_alone]


def test_interface_stays_float_and_in_the_source_layout(int8_graph: ir.Model, tmp_path: Path) -> None:
    options = ExportOptions(Precision.INT8, io=IoType.INT8, layout=Layout.NHWC)
    interface = MnnExporter().export(int8_graph, options, tmp_path / "toy.mnn")
    assert interface.inputs == (TensorSpec("image", "float32", (1, *toy.SHAPE)),)
    assert interface.outputs == (TensorSpec("logits", "float32", (1, toy.CLASSES)),)


def test_names_types_and_order_of_many_inputs_and_outputs(tmp_path: Path) -> None:
    feeds = {
        "z:0": normal(1, 3, 4, 4),
        'a "b"/ü': normal(2, 3),
        "ids": np.array([[2, 0, 1]], np.int64),
        "volume": normal(1, 2, 3, 4, 5),
    }
    nodes = [
        helper.make_node("Conv", ["z:0", "w"], ["y;last"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["y;last"], ["b, relu"]),
        helper.make_node("Gather", ["table", "ids"], ["a rows"], axis=0),
        helper.make_node("Mul", ['a "b"/ü', "two"], ["c"]),
        helper.make_node("Neg", ["volume"], ["five"]),
        helper.make_node("Cast", ["ids"], ["integers"], to=6),
    ]
    constants = {"w": normal(2, 3, 1, 1), "table": normal(4, 5), "two": np.float32(2)}
    outputs = ["y;last", "b, relu", "a rows", "c", "five", "integers"]
    graph = graphs.model(nodes, feeds, constants, outputs)
    interface = MnnExporter().export(graph, ExportOptions(Precision.FP32), tmp_path / "many.mnn")
    assert [spec.name for spec in interface.inputs] == list(feeds)
    assert [spec.name for spec in interface.outputs] == outputs
    assert {spec.name: spec.dtype for spec in interface.inputs}["ids"] == "int32"
    assert [spec.shape for spec in interface.inputs] == [array.shape for array in feeds.values()]
    expected, actual = graphs.run_onnxruntime(graph, feeds), graphs.run_mnn(tmp_path / "many.mnn", feeds)
    for name in outputs:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5, atol=1e-6)


def test_int8_with_several_outputs_and_shared_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["first"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["first"], ["r"]),
        helper.make_node("Conv", ["r", "w", "b"], ["second"], kernel_shape=[1, 1]),
        helper.make_node("Add", ["first", "second"], ["sum"]),
    ]
    samples = [{"x": normal(1, 6, 5, 5)} for _ in range(3)]
    constants = {"w": normal(6, 6, 1, 1), "b": normal(6)}
    graph = graphs.quantized(graphs.model(nodes, samples[0], constants, ["first", "second", "sum"]), samples)
    path = graphs.export(graph, tmp_path / "shared.mnn", Precision.INT8)
    expected, actual = graphs.run_onnxruntime(graph, samples[0]), graphs.run_mnn(path, samples[0])
    for name in ("first", "second", "sum"):
        assert np.abs(actual[name] - expected[name]).max() < 2.5 * graphs.output_scale(graph, name)


def test_model_stays_as_it_is(int8_graph: ir.Model, tmp_path: Path) -> None:
    before = ir.to_proto(int8_graph).SerializeToString(deterministic=True)
    graphs.export(int8_graph, tmp_path / "toy.mnn", Precision.INT8)
    assert ir.to_proto(int8_graph).SerializeToString(deterministic=True) == before


def test_failure_keeps_the_previous_file(tmp_path: Path) -> None:
    target = tmp_path / "model.mnn"
    target.write_bytes(b"previous")
    graph = graphs.model([helper.make_node("IsNaN", ["x"], ["y"], name="nan")], {"x": normal(1, 3)}, {}, ["y"])
    with pytest.raises(UnsupportedError, match="nan"):
        graphs.export(graph, target)
    assert target.read_bytes() == b"previous"


def test_crash_of_the_converter_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash_on_tanh(source: Path, target: Path) -> None:
        if any(node.op_type == "Tanh" for node in ir.load(source).graph):
            raise converter.ConverterFailedError("MNN's converter failed (exit code -11); export the other formats")
        target.write_bytes(b"")

    monkeypatch.setattr(converter, "convert_onnx", crash_on_tanh)
    nodes = [
        helper.make_node(op, [f"v{k}"], [f"v{k + 1}"], name=op) for k, op in enumerate(("Exp", "Neg", "Tanh", "Abs"))
    ]
    graph = graphs.model(nodes, {"v0": normal(1, 3)}, {}, ["v4"])
    assert [node.node for node in MnnExporter().unsupported(graph)] == ["Tanh"]


def test_garbage_into_the_converter(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="converter failed"):
        converter.convert_onnx(tmp_path / "text.onnx", tmp_path / "out.mnn")
    assert not (tmp_path / "out.mnn").exists()


def test_interruption_leaves_nothing(classifier_graph: ir.Model, tmp_path: Path) -> None:
    source, scratch, out = tmp_path / "graph.onnx", tmp_path / "scratch", tmp_path / "out"
    ir.save(classifier_graph, source)
    scratch.mkdir()
    out.mkdir()
    program = (
        "import sys, onnx_ir as ir; from pathlib import Path; from edgekit.exporters import ExportOptions;"
        "from edgekit.exporters.mnn import MnnExporter; from edgekit.interface import Precision;"
        "model = ir.load(sys.argv[1]); print('ready', flush=True);"
        "[MnnExporter().export(model, ExportOptions(Precision.FP32), Path(sys.argv[2])) for _ in range(100)]"
    )
    environment: dict[str, Any] = {**os.environ, "TMPDIR": str(scratch)}
    command = [sys.executable, "-c", program, str(source), str(out / "toy.mnn")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdout is not None and process.stdout.readline()
    time.sleep(0.15)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    assert process.returncode != 0
    assert not list(scratch.iterdir())
    assert {path.name for path in out.iterdir()} <= {"toy.mnn"}


@pytest.mark.slow
def test_efficientnet(shared: Path, tmp_path: Path) -> None:
    graph = canonicalize(import_model(shared / "models" / "efficientnet_lite1.onnx").model)
    images = [{"input": normal(1, 3, 240, 240)} for _ in range(4)]
    int8 = graphs.quantized(graph, images)
    path = graphs.export(int8, tmp_path / "efficientnet.mnn", Precision.INT8)
    with graphs.RuntimeProcess("mnn", path) as process:
        delegation = process.delegation()
    assert delegation is not None and [each.op for each in delegation.fallback] == ["Reduction"]
    assert path.stat().st_size < 5_700_000
