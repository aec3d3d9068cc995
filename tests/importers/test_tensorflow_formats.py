"""Keras, SavedModel and TFLite models through the TensorFlow subprocess, which checks each against its source."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import DependencyError, EdgekitError, ModelError
from edgekit.importers import import_model, tensorflow_process
from tests.importers.onnx_files import dynamic_values, run_imported

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")

IMAGE = np.random.default_rng(0).random((1, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorflow_files")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = Path(__file__).with_name("keras_files.py")
    written = subprocess.run([sys.executable, script, folder], env=environment, capture_output=True, text=True)
    assert written.returncode == 0, written.stderr[-2000:]
    return folder


def _interface(path: Path) -> tuple[list[tuple[str, tuple[int, ...]]], list[tuple[str, tuple[int, ...]]]]:
    imported = import_model(path)
    assert dynamic_values(imported.model) == []
    return [(s.name, s.shape) for s in imported.inputs], [(s.name, s.shape) for s in imported.outputs]


def test_one_network_is_the_same_from_every_format(files: Path) -> None:
    """Sequential .keras, Keras 2 .h5 and float TFLite of one set of weights: same names, same results."""
    keras = import_model(files / "sequential.keras")
    old = import_model(files / "keras2.h5")
    tflite = import_model(files / "float.tflite")
    assert [spec.name for spec in (*keras.inputs, *keras.outputs)] == ["image", "probabilities"]
    assert (old.inputs, old.outputs) == (keras.inputs, keras.outputs)
    assert [(spec.name, spec.shape) for spec in (*tflite.inputs, *tflite.outputs)] == [
        ("image", (1, 12, 12, 3)),
        ("output_0", (1, 4)),
    ]
    want = run_imported(keras.model, {"image": IMAGE})[0]
    assert want.std() > 0.01
    for imported in (old, tflite):
        np.testing.assert_allclose(run_imported(imported.model, {"image": IMAGE})[0], want, atol=1e-5)


def test_several_inputs_and_outputs_keep_names_and_order(files: Path) -> None:
    inputs, outputs = _interface(files / "functional.keras")
    assert inputs == [("left", (1, 8, 8, 4)), ("right", (1, 8, 8, 4))]
    assert outputs == [("head", (1, 3)), ("head_1", (1, 3)), ("sum", (1, 4))]


@pytest.mark.slow
def test_operations_of_keras_are_no_layers_and_names_may_be_anything(files: Path) -> None:
    """The conversion compares itself with TensorFlow."""
    inputs, outputs = _interface(files / "operations.keras")
    assert inputs == [("my image", (1, 8, 8, 3))]
    assert outputs == [("a or b", (1, 6, 6, 4)), ("argmax", (1, 6, 6))]


@pytest.mark.slow
def test_recurrent_layers_are_unrolled(files: Path) -> None:
    operators = {node.op_type for node in import_model(files / "recurrent.keras").model.graph}
    assert "Sigmoid" in operators and not operators & {"Loop", "Scan", "If"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sequences.keras", "recurrent.keras"])
def test_two_imports_give_identical_bytes(name: str, files: Path) -> None:
    """Each is a process of its own, where nodes have other addresses in memory."""
    first, second = (ir.to_proto(import_model(files / name).model).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_channels_first_stays_so(files: Path) -> None:
    imported = import_model(files / "channels_first.keras")
    assert [(s.name, s.shape) for s in (*imported.inputs, *imported.outputs)] == [("x", (1, 3, 8, 8)), ("y", (1, 4))]
    assert "Transpose" not in {node.op_type for node in imported.model.graph}


def test_mixed_precision_is_read_as_float32(files: Path) -> None:
    imported = import_model(files / "half.keras")
    assert [spec.dtype for spec in (*imported.inputs, *imported.outputs)] == ["float32", "float32"]
    assert "Cast" not in {node.op_type for node in imported.model.graph}


def test_a_signature_names_the_inputs_and_outputs(files: Path) -> None:
    inputs, outputs = _interface(files / "named")
    assert (inputs, outputs) == ([("features", (1, 5))], [("best", (1,)), ("scores", (1, 2))])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lambda.keras", "Lambda.*Python code.*model.export"),
        ("lambda.h5", "Lambda.*Python code.*model.export"),
        ("custom.keras", "tests>Doubled.*custom Python code.*model.export"),
        ("only.weights.h5", "weights only.*model.save"),
        ("open.keras", r'"image" has shape \[\?, \?, \?, 3\].*--input-shape image=1,224,224,3'),
        ("several", 'several signatures .*"a", "b"'),
        ("unsigned", "no signature"),
        ("writes", "WriteFile.*does not run"),
        ("prints", "PrintV2.*does not run"),
        ("saves", "SaveV2.*does not run"),
        ("caches", "Dataset.*does not run"),
        ("debugs", "DebugIdentity.*does not run"),
        ("restores", "RestoreV2.*does not run"),
        ("initializes", "is a Save,.*does not run"),
        ("quantized.tflite", "already quantized.*float model"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_imported_says_why(name: str, message: str, files: Path) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        import_model(files / name)
    assert str(files / name) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list((files / name).glob("harm*"))


@pytest.mark.slow
def test_exported_models_and_half_weights(files: Path) -> None:
    want = run_imported(import_model(files / "sequential.keras").model, {"image": IMAGE})[0]
    for name in ("exported", "half.tflite"):
        got = run_imported(import_model(files / name).model, {"image": IMAGE})[0]
        np.testing.assert_allclose(got, want, atol=2e-3)
    assert _interface(files / "subclassed")[1] == [("output_0", (1, 3))]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sparse.tflite", "sparse_half.tflite"])
def test_sparse_weights_are_made_dense(name: str, files: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(files / name)).get_signature_runner()
    got = run_imported(import_model(files / name).model, {"image": IMAGE})[0]
    np.testing.assert_allclose(got, next(iter(runner(image=IMAGE).values())), atol=1e-5)


@pytest.mark.slow
def test_open_shapes_are_given(files: Path) -> None:
    imported = import_model(files / "open.keras", input_shapes={"image": (1, 9, 10, 3)})
    assert imported.outputs[0].shape == (1, 7, 8, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sequential.keras", "keras2.h5", "float.tflite"])
def test_damaged_files_end_in_our_errors(name: str, files: Path, tmp_path: Path) -> None:
    content = bytearray((files / name).read_bytes())
    path = tmp_path / name
    random = np.random.default_rng(1)
    for damage in ("half", "bytes", "bytes"):
        damaged = content[: len(content) // 2] if damage == "half" else bytearray(content)
        if damage == "bytes":
            for position in random.integers(8, len(content), 40):
                damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            import_model(path)
        except EdgekitError as error:
            assert "\n" not in str(error)


def test_missing_tensorflow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow_process.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(
        DependencyError, match=r"Keras import needs tensorflow and tf2onnx: pip install 'edgekit\[tensor"
    ):
        import_model(path)


def test_a_crash_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nkill -SEGV $$\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(tensorflow_process.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ModelError, match=r"crashed while reading it \(SIGSEGV"):
        import_model(path)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interruption_ends_the_worker_and_removes_its_files(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 64)
    (tmp_path / "tmp").mkdir()
    program = "import pathlib, sys; from edgekit.importers import import_model; import_model(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", "import signal; signal.signal(2, signal.default_int_handler); " + program, path]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "tmp").glob("edgekit-import-*/stderr.txt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_import_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.keras"
    monkeypatch.setattr(tensorflow_process, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(tensorflow_process, "_TIMEOUT_S", 0.2)
    with pytest.raises(ModelError, match=r"model.keras: TensorFlow did not read it in 0\.2 s"):
        tensorflow_process.import_through_tensorflow("keras", path, None)
