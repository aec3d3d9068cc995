import struct
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgekit.errors import ModelError
from edgekit.interface import Precision
from edgekit.runtimes import find_runtime
from edgekit.runtimes.mnn import MnnRuntime
from edgekit.runtimes.mnn_file import MnnFile
from tests.exporters.mnn import graphs

RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["features"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["features", "offset"], ["sum"]),
    ]
    feeds = {"offset": np.zeros((1, 5, 1, 1), np.float32), "image": np.zeros((1, 3, 7, 6), np.float32)}
    weight = np.arange(135, dtype=np.float32).reshape(5, 3, 3, 3) / 100
    graph = graphs.model(nodes, feeds, {"w": weight}, ["sum", "features"])
    return graphs.export(graph, tmp_path_factory.mktemp("mnn") / "model.mnn")


def test_runs_every_layout_of_memory(model_file: Path) -> None:
    session = find_runtime("mnn").load(model_file, 1)
    assert [(spec.name, spec.dtype, spec.shape) for spec in session.inputs] == [
        ("offset", "float32", (1, 5, 1, 1)),
        ("image", "float32", (1, 3, 7, 6)),
    ]
    assert {spec.name: spec.shape for spec in session.outputs} == {"sum": (1, 5, 7, 6), "features": (1, 5, 7, 6)}
    image = RNG.standard_normal((1, 3, 6, 7)).astype(np.float32).transpose(0, 1, 3, 2)
    offset = RNG.standard_normal((1, 5, 1, 1)).astype(np.float32)
    outputs = session.run({"image": image, "offset": offset})
    again = session.run({"image": np.ascontiguousarray(image), "offset": offset})
    np.testing.assert_array_equal(outputs["features"], again["features"])
    np.testing.assert_allclose(outputs["sum"] - offset, outputs["features"], atol=1e-5)
    # A result stays when the session runs again.
    kept = outputs["sum"].copy()
    session.run({"image": image * 2, "offset": offset})
    np.testing.assert_array_equal(outputs["sum"], kept)
    session.close()


def test_a_scalar_input(tmp_path: Path) -> None:
    feeds = {"x": np.ones((1, 4), np.float32), "factor": np.array(3, np.float32)}
    graph = graphs.model([helper.make_node("Mul", ["x", "factor"], ["y"])], feeds, {}, ["y"])
    session = find_runtime("mnn").load(graphs.export(graph, tmp_path / "scalar.mnn"), 1)
    np.testing.assert_array_equal(session.run(feeds)["y"], 3 * feeds["x"])
    session.close()


def test_wrong_shape(model_file: Path) -> None:
    session = find_runtime("mnn").load(model_file, 1)
    feeds = {"image": np.zeros((1, 3, 6, 7), np.float32), "offset": np.zeros((1, 5, 1, 1), np.float32)}
    with pytest.raises(ValueError, match=r"image.*\(1, 3, 7, 6\)"):
        session.run(feeds)


def test_float_file_is_all_accelerated(model_file: Path) -> None:
    delegation = find_runtime("mnn").load(model_file, 1).delegation()
    assert delegation is not None
    assert delegation.accelerated_ops == delegation.total_ops == 2
    assert not delegation.fallback


def test_memory_low_runs(model_file: Path) -> None:
    session = MnnRuntime().load(model_file, 2, Precision.INT8_DYNAMIC)
    feeds = {spec.name: np.ones(spec.shape, spec.dtype) for spec in session.inputs}
    assert np.isfinite(session.run(feeds)["sum"]).all()


@pytest.mark.parametrize("content", [b"", b"hello, this is a text file", b"\0" * 64, struct.pack("<I", 1 << 31) * 8])
def test_no_mnn_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.mnn"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.mnn.*not an MNN model"):
        find_runtime("mnn").load(path, 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_file(share: float, model_file: Path, tmp_path: Path) -> None:
    content = model_file.read_bytes()
    path = tmp_path / "cut.mnn"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"cut\.mnn"):
        find_runtime("mnn").load(path, 1)


def test_reads_names_and_operations(model_file: Path) -> None:
    file = MnnFile(model_file.read_bytes(), model_file)
    assert file.inputs == ["offset", "image"]
    assert sorted(file.outputs) == ["features", "sum"]
    kinds = [operation.type_name for operation in file.operations]
    assert kinds.count("Convolution") == 1 and kinds.count("BinaryOp") == 1
