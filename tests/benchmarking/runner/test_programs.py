"""The program in C and the one in Python do the same: each test runs both."""

import ast
from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from edgekit.exporters import ExportOptions, find_exporter
from edgekit.interface import Precision
from edgekit.runtimes.process import RuntimeProcess
from tests.benchmarking.runner.conftest import FEEDS
from tests.benchmarking.runner.programs import PYTHON, expected, native, run
from tests.exporters.mnn import graphs
from tests.runtimes.crashing import save_crashing_tflite

KEYS = {
    "edgekit_runner",
    "runtime",
    "runtime_version",
    "load_us",
    "first_us",
    "warmup_runs",
    "settled",
    "times_ns",
    "peak_memory_kb",
    "accelerated_ops",
    "total_ops",
    "partitions",
    "profile",
}


@pytest.fixture(params=["c", "python"])
def program(request: pytest.FixtureRequest) -> Sequence[str]:
    return native() if request.param == "c" else PYTHON


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_runs_the_model_on_the_inputs_that_are_given(program, format_name, models, tmp_path):
    ended = run(program, models[format_name], tmp_path, feeds=FEEDS)
    assert ended.exit_code == 0, ended.stderr
    wanted = expected(models[format_name], FEEDS)
    assert len(ended.outputs) == len(wanted) == 2
    for found, array in zip(ended.outputs, wanted.values(), strict=True):
        np.testing.assert_allclose(np.frombuffer(found, np.float32), array.ravel(), rtol=1e-6, atol=1e-6)


def test_runs_mnn_on_the_inputs_that_are_given(models, tmp_path):
    ended = run(PYTHON, models["mnn"], tmp_path, feeds=FEEDS)
    assert ended.exit_code == 0, ended.stderr
    wanted = expected(models["mnn"], FEEDS)
    # MNN has forgotten the file's order.
    for found, name in zip(ended.outputs, sorted(wanted), strict=True):
        np.testing.assert_allclose(np.frombuffer(found, np.float32), wanted[name].ravel(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_writes_what_it_measured(program, format_name, models, tmp_path):
    result = run(program, models[format_name], tmp_path, min_runs="37").result
    assert set(result) == KEYS
    assert result["edgekit_runner"] == 1
    assert result["runtime"] == {"onnx": "onnxruntime", "tflite": "litert"}[format_name]
    assert len(result["times_ns"]) == 37
    assert all(isinstance(time, int) and time > 0 for time in result["times_ns"])
    assert result["load_us"] > 0 < result["first_us"]
    assert result["peak_memory_kb"] > 1000
    assert (result["warmup_runs"], result["settled"], result["profile"]) == (0, False, [])
    assert len(run(program, models[format_name], tmp_path, min_runs="37", max_runs="20").result["times_ns"]) == 20


def test_more_runs_do_not_take_more_memory(program, tmp_path):
    model = save_echo(tmp_path / "echo.onnx", (1, 3), {"x": TensorProto.FLOAT})
    few, many = (run(program, model, tmp_path, min_runs=runs).result for runs in ("3", "300000"))
    assert len(many["times_ns"]) == 300_000
    # Their times alone are 2400 KiB; the same process varies by some 300.
    assert many["peak_memory_kb"] < few["peak_memory_kb"] + 1200


def test_stops_when_the_time_is_over(program, models, tmp_path):
    result = run(program, models["onnx"], tmp_path, min_runs="100000000", max_s="0.05").result
    assert 1 <= len(result["times_ns"]) < 100000000


def test_warms_up_within_its_time(program, models, tmp_path):
    result = run(program, models["onnx"], tmp_path, warmup_s="0.6").result
    assert result["warmup_runs"] >= 10 or not result["settled"]
    assert result["warmup_runs"] > 0


def test_tells_what_xnnpack_took(program, island, tmp_path):
    with RuntimeProcess("tflite", island) as process:
        wanted = process.delegation()
    result = run(program, island, tmp_path).result
    assert (result["accelerated_ops"], result["total_ops"]) == (wanted.accelerated_ops, wanted.total_ops)
    assert result["partitions"] >= 2
    result = run(program, island, tmp_path, delegate="none").result
    assert (result["accelerated_ops"], result["total_ops"], result["partitions"]) == (0, wanted.total_ops, 0)


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_times_each_operation_in_litert(delegate, island, tmp_path):
    with RuntimeProcess("tflite", island) as process:
        fallback = {entry.node for entry in process.delegation().fallback}
    result = run(native(), island, tmp_path, "--profile", delegate=delegate).result
    profile = result["profile"]
    assert sum(entry["mean_us"] for entry in profile) > 0
    slow = {entry["node"] for entry in profile if not entry["accelerated"]}
    assert slow == (fallback if delegate == "xnnpack" else {entry["node"] for entry in profile})
    assert {"CONV_2D", "SOFTMAX"} <= {entry["op"] for entry in profile}
    assert all(entry["node"] for entry in profile)
    # The timed runs are others.
    assert len(result["times_ns"]) == 3


def test_times_each_operation_in_onnxruntime(program, models, tmp_path):
    profile = run(program, models["onnx"], tmp_path, "--profile").result["profile"]
    # On x86 a convolution in the blocked layout is only known by its output, that of the fused activation.
    assert {"shift", "pool"} < {entry["node"] for entry in profile}
    assert {"stem", "active"} & {entry["node"] for entry in profile}
    assert all(entry["mean_us"] >= 0 and entry["accelerated"] is None for entry in profile)
    assert not list(tmp_path.glob("*.json"))


def test_times_each_operation_in_mnn(models, tmp_path):
    result = run(PYTHON, models["mnn"], tmp_path, "--profile").result
    operations = {entry["op"] for entry in result["profile"]}
    assert any(operation.startswith("Conv") for operation in operations)
    assert all(entry["mean_us"] > 0 for entry in result["profile"])


NUMBERS = {
    "half": TensorProto.FLOAT16,
    "single": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "code": TensorProto.INT8,
    "unsigned_code": TensorProto.UINT8,
    "long_code": TensorProto.INT16,
    "index": TensorProto.INT64,
    "count": TensorProto.INT32,
    "unsigned": TensorProto.UINT32,
    "choice": TensorProto.BOOL,
}


def save_echo(path: Path, shape: Sequence[int | str], types: dict[str, int]) -> Path:
    """A model whose outputs are its inputs."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"], name=name) for name in types]
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, kind in types.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", kind, shape) for name, kind in types.items()]
    graph = helper.make_graph(nodes, "echo", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_makes_up_inputs_of_every_type(program, tmp_path):
    model = save_echo(tmp_path / "echo.onnx", (1, 500), NUMBERS)
    ended = run(program, model, tmp_path)
    assert ended.exit_code == 0, ended.stderr
    again = run(program, model, tmp_path / "again")
    assert again.outputs == ended.outputs
    for (name, kind), content in zip(NUMBERS.items(), ended.outputs, strict=True):
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        values = np.frombuffer(content, dtype).astype(np.float64)
        assert values.size == 500
        if dtype.kind == "f":
            assert values.min() >= -1
            assert values.max() <= 1
            assert np.unique(values).size > 100
            assert abs(values.mean()) < 0.2
        elif "code" in name:
            assert np.unique(values).size > 100
        else:
            assert not values.any()


def test_runs_tensors_of_no_elements(program, tmp_path):
    ended = run(program, save_echo(tmp_path / "empty.onnx", (0, 3), {"x": TensorProto.FLOAT}), tmp_path)
    assert ended.exit_code == 0, ended.stderr
    assert ended.outputs == (b"",)


def test_runs_outputs_whose_shape_only_the_run_knows(program, tmp_path):
    nodes = [helper.make_node("NonZero", ["x"], ["where"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 4))]
    outputs = [helper.make_tensor_value_info("where", TensorProto.INT64, (2, "count"))]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), ir_version=8)
    model.opset_import[0].version = 17
    onnx.save(model, tmp_path / "dynamic.onnx")
    x = np.array([[0, 1, 0, 2], [3, 0, 0, 0]], np.float32)
    ended = run(program, tmp_path / "dynamic.onnx", tmp_path, "--profile", feeds={"x": x})
    assert ended.exit_code == 0, ended.stderr
    assert ended.outputs == (np.array(np.nonzero(x), np.int64).tobytes(),)


def save_open_batch(model: Path, path: Path) -> Path:
    """The .tflite file with a batch that its signature leaves open, as TFLiteConverter writes it."""
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.read_bytes()))
    (graph,) = content.subgraphs
    for tensor in graph.tensors:
        if tensor.shape is not None and len(tensor.shape) == 4 and tensor.shape[0] == 1:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_runs_an_open_batch_with_its_default(program, models, tmp_path):
    model = save_open_batch(models["tflite"], tmp_path / "open.tflite")
    ended = run(program, model, tmp_path, "--profile", feeds=FEEDS)
    assert ended.exit_code == 0, ended.stderr
    for found, array in zip(ended.outputs, expected(models["tflite"], FEEDS).values(), strict=True):
        np.testing.assert_allclose(np.frombuffer(found, np.float32), array.ravel(), rtol=1e-6, atol=1e-6)


def reason(ended) -> str:
    """The last line of standard error, which says why."""
    assert ended.result is None
    return ended.stderr.strip().splitlines()[-1]


def test_an_open_batch_is_one(program, tmp_path):
    model = save_echo(tmp_path / "batch.onnx", ("N", 3), {"x": TensorProto.FLOAT})
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    ended = run(program, model, tmp_path, feeds={"x": x})
    assert ended.result is not None, ended.stderr
    assert ended.outputs == (x.tobytes(),)


def test_refuses_dynamic_inputs_and_strings(program, tmp_path):
    ended = run(program, save_echo(tmp_path / "d.onnx", ("N", "M"), {"x": TensorProto.FLOAT}), tmp_path)
    assert ended.exit_code == 4
    assert '"x" has a dynamic dimension' in reason(ended)
    ended = run(program, save_echo(tmp_path / "s.onnx", (1, 3), {"x": TensorProto.STRING}), tmp_path)
    assert ended.exit_code == 4
    assert '"x"' in reason(ended)
    assert "string" in reason(ended)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_refuses_a_bad_file_with_the_words_of_the_runtime(program, suffix, tmp_path):
    bad = tmp_path / f"bad{suffix}"
    bad.write_bytes(b"no model at all, whatever it is called")
    ended = run(program, bad, tmp_path)
    assert ended.exit_code == 4
    assert ("rotobuf parsing failed" if suffix == ".onnx" else "LiteRT: ") in reason(ended)
    assert "identifier" in reason(ended) or "Flatbuffer" in reason(ended) or suffix == ".onnx"
    assert run(program, tmp_path / f"missing{suffix}", tmp_path).exit_code == 4


def test_a_crash_stays_in_the_process(program, tmp_path):
    ended = run(program, save_crashing_tflite(tmp_path / "crash.tflite"), tmp_path)
    assert ended.exit_code < 0
    assert ended.result is None


def test_refuses_wrong_inputs(program, models, tmp_path):
    ended = run(program, models["onnx"], tmp_path, "--input", "nothing=/dev/null")
    assert ended.exit_code == 2
    assert "nothing" in reason(ended)
    ended = run(program, models["onnx"], tmp_path, feeds={"image": np.zeros(3, np.float32)})
    assert ended.exit_code == 6
    assert '"image"' in reason(ended)
    assert run(program, models["onnx"], tmp_path, "--input", "image=/no/such/file").exit_code == 6


def test_a_result_that_cannot_be_written_is_an_error(program, models, tmp_path):
    with Path("/dev/full").open("w") as full:
        ended = run(program, models["onnx"], tmp_path, min_runs="2000", stdout=full)
    assert ended.exit_code == 6
    assert "edgekit-runner: " in reason(ended)


def test_says_why_when_the_log_cannot_be_kept(tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(bytes(100))
    # One file at a time, besides the three: none for the log and for where it went before.
    ended = run(("sh", "-c", 'ulimit -n 4; exec "$0" "$@"', *native()), bad, tmp_path)
    assert ended.exit_code == 4, ended.stderr
    assert reason(ended).startswith("edgekit-runner: LiteRT: CreateModelFromFile failed")


@pytest.mark.parametrize(
    "changed",
    [
        {"threads": "0"},
        {"threads": "two"},
        {"min_runs": "0"},
        {"max_s": "-1"},
        {"max_s": "soon"},
        {"delegate": "gpu"},
        {"max_runs": "0"},
        {"threads": "99999999999"},
        {"warmup_s": "1e300"},
        {"min_s": "inf"},
        {"max_s": "nan"},
    ],
)
def test_refuses_wrong_flags(program, changed, models, tmp_path):
    ended = run(program, models["onnx"], tmp_path, **changed)
    assert ended.exit_code == 2
    assert next(iter(changed.values())) in ended.stderr or "at least" in ended.stderr


def test_a_library_that_is_none(models, tmp_path):
    for path in ("/no/such/library.so", str(models["onnx"])):
        ended = run(native(), models["onnx"], tmp_path, library=path)
        assert ended.exit_code == 3
        assert path in reason(ended)
    # Another library than the runtime's.
    ended = run(native(), models["onnx"], tmp_path, library="libm.so.6")
    assert ended.exit_code == 3
    assert "OrtGetApiBase" in reason(ended)


def test_a_runtime_that_is_not_installed(models, tmp_path):
    ended = run((PYTHON[0], "-S", PYTHON[1]), models["onnx"], tmp_path)
    assert ended.exit_code != 0
    assert ended.result is None


def test_mnn_calculates_in_int8_when_it_is_told(tmp_path):
    model = tmp_path / "dynamic.mnn"
    rng = np.random.default_rng(0)
    feeds = {"image": rng.standard_normal((1, 64, 8, 8)).astype(np.float32)}
    node = helper.make_node("Conv", ["image", "w"], ["y"], name="conv", **graphs.SAME3)
    weight = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
    graph = graphs.model([node], feeds, {"w": weight}, ["y"])
    find_exporter("mnn").export(graph, ExportOptions(Precision.INT8_DYNAMIC), model)
    for precision, memory in ((Precision.INT8_DYNAMIC, "low"), (None, "normal")):
        with RuntimeProcess("mnn", model, precision=precision) as process:
            wanted = process.run(feeds)["y"]
        found = run(PYTHON, model, tmp_path / memory, feeds=feeds, memory=memory).outputs[0]
        np.testing.assert_array_equal(np.frombuffer(found, np.float32), wanted.ravel())


def test_the_python_of_old_boards_reads_the_program():
    program = Path(PYTHON[1]).read_text()
    assert ast.parse(program, feature_version=(3, 7)).body
    with pytest.raises(SyntaxError):  # what it would say of newer syntax
        ast.parse(program + "\nif (newer := 1): pass\n", feature_version=(3, 7))
