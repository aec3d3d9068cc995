"""The command line as a user has it: a process, its exit code, and what it prints where."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from edgekit.cli.app import app

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "tensorflow", "MNN", "ai_edge_litert")


def edgekit(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgekit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


def error_of(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that an error is."""
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("edgekit: error: ")
    return lines[0]


def test_help_and_version_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from edgekit.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "inspect" in result.stdout


def test_the_readme_has_every_flag_of_export_and_those_of_pruning_are_apart() -> None:
    export = typer.main.get_command(app).commands["export"]  # type: ignore[attr-defined]
    flags = {option.opts[0]: option.rich_help_panel for option in export.params if option.opts[0].startswith("--")}
    readme = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    assert [flag for flag in flags if f"`{flag}" not in readme and f" {flag} " not in readme] == []
    panels = {panel: [flag for flag in flags if flags[flag] == panel] for panel in flags.values()}
    assert panels["Prune"] == ["--prune", "--max-latency", "--max-bytes", "--importance", "--strict"]
    assert panels["Recover what pruning lost"][0] == "--recover"
    _, pruning = readme.split("\n## Prune\n")
    for flag in (*panels["Prune"], *panels["Recover what pruning lost"]):
        assert f"\n| `{flag}" in pruning.split("\n## ")[0]


def test_version() -> None:
    assert edgekit("--version").stdout.strip() == "edgekit 0.1.0"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("exprot",), "export"),
        (("export", "model.onnx"), "--target"),
        (("export", "model.onnx", "-t", "x86-64", "--precision", "int7"), "int8"),
        (("export", "model.onnx", "-t", "x86-64", "--samples", "0"), "--samples 0: expected a whole number"),
        (("export", "model.onnx", "-t", "x86-64", "--max-drop", "nan"), "--max-drop"),
        (("export", "model.onnx", "-t", "x86-64", "--name", "a/b"), "--name 'a/b'"),
        (("export", "model.onnx", "-t", "x86-64", "--name", ""), "--name ''"),
        (("export", "model.onnx", "-t", "x86-64", "--io", "int8", "-p", "fp16"), "--io int8"),
        (("export", "model.onnx", "-t", "x86-64", "--input-shape", "image=99999999999999999999,3"), "--input-shape"),
        (("export", "model.onnx", "-t", "x86-64", "--input-shape", "image=1,x"), "NAME=1,3,224,224"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "0"), "--prune 0: expected the share"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "1"), "more than 0 and less than 1"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "nan"), "--prune nan"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "50%"), "50%: expected 0.5, a share"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "half"), "half: expected 0.25, a share"),
        (("export", "model.onnx", "-t", "x86-64", "--max-latency", "-1"), "--max-latency -1: expected milliseconds"),
        (("export", "model.onnx", "-t", "x86-64", "--max-bytes", "small"), "1500000, 1.5MB, 800KB or 1MiB"),
        (("export", "model.onnx", "-t", "x86-64", "--recover"), "--recover: nothing is pruned; expected --prune"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "0.2", "--temperature", "2"), "expected --recover"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "0.2", "--importance", "obbs"), "bn-scale"),
        (("export", "model.onnx", "-t", "android-gpu", "--max-latency", "3"), "cannot be timed on this machine"),
        (("export", "model.onnx", "-t", "x86-64", "--prune", "1.5"), "--prune 1.5: expected the share"),
        (("export", "model.onnx", "-t", "x86-64", "--io", "int16"), "'--io': 'int16' is not one of 'float', 'int8'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    assert told in error_of(edgekit(*arguments, cwd=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_target_names_the_nearest(classifier: Path, calibration: Path) -> None:
    line = error_of(edgekit("export", classifier, "-c", calibration, "-t", "andriod-arm64"), 3)
    assert '"andriod-arm64"' in line and "android-arm64" in line


def test_static_int8_without_calibration_says_what_to_do(classifier: Path, tmp_path: Path) -> None:
    line = error_of(edgekit("export", classifier, "-t", "x86-64", "-o", tmp_path / "dist"), 3)
    assert "--calibration" in line and "int8-weights" in line
    assert not (tmp_path / "dist").exists()


def test_strict_pruning_without_calibration_says_what_to_do(classifier: Path, tmp_path: Path) -> None:
    options = ("-t", "android-gpu", "--prune", "0.2", "--strict", "-o", tmp_path / "dist")
    line = error_of(edgekit("export", classifier, *options), 3)
    assert "--strict" in line and "--calibration" in line and "--importance l2" in line
    assert not (tmp_path / "dist").exists()


def test_a_size_that_cannot_be_met_is_exit_5(classifier: Path, tmp_path: Path) -> None:
    options = ("-t", "android-gpu", "--max-bytes", "1KB", "-o", tmp_path / "dist")
    line = error_of(edgekit("export", classifier, *options), 5)
    assert "--max-bytes 1000" in line and "bytes" in line
    assert not (tmp_path / "dist").exists()


def test_a_pruned_export_shows_what_went_and_where_it_does_not_pay(classifier: Path, tmp_path: Path) -> None:
    options = ("-t", "android-arm64", "-p", "fp16", "--prune", "0.2", "--max-drop", "100", "-o", tmp_path / "dist")
    result = edgekit("export", classifier, *options, "--json")
    assert result.returncode == 0, result.stderr
    pruning = json.loads(result.stdout)["pruning"]
    for words in (
        "channels of",
        "pruned by l2: MACs 289,280 -> ",
        "left whole: 5 channels",
        "unpruned",
        "android-arm64",
        "timing, before and after ...",
        "the median of the sessions' own ratios",
    ):
        assert words in result.stderr
    slower = [entry["path"] for entry in pruning["artifacts"] if entry["latency_ratio"] >= 1]
    told = [line.split(":")[0] for line in result.stderr.splitlines() if "pruning does not pay here" in line]
    assert told == slower


def test_inspect_shows_the_channels(classifier: Path) -> None:
    shown = edgekit("inspect", classifier, "--channels")
    assert shown.returncode == 0, shown.stderr
    assert "channel group" in shown.stdout and "is an output of the model" in shown.stdout
    document = json.loads(edgekit("inspect", classifier, "--channels", "--json").stdout)["channels"]
    assert {group["name"]: group["channels"] for group in document["groups"]} == {"stem": 16, "down": 32}
    assert document["groups"][0]["producers"] == ["stem", "pointwise"]
    assert [branch["name"] for branch in document["branches"]] == ["pointwise"]
    assert [entry["channels"] for entry in document["whole"]] == [5]
    assert 0.5 < document["most_share"] < 1 and document["channel_multiple"] == 8
    most = int(1000 * document["most_share"]) / 10
    assert f"channels go in multiples of 8, one multiple at least stays: all that can be removed is {most:g} %" in (
        shown.stdout
    )
    assert "layers count for several groups" in shown.stdout
    assert "channels" not in json.loads(edgekit("inspect", classifier, "--json").stdout)


def test_an_error_with_json_is_one_document(tmp_path: Path) -> None:
    result = edgekit("inspect", tmp_path / "missing.onnx", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == document["error"]["exit_code"] == 3
    assert "missing.onnx" in document["error"]["message"]


def test_debug_shows_the_traceback_and_keeps_the_exit_code(tmp_path: Path) -> None:
    result = edgekit("inspect", tmp_path / "missing.onnx", "--debug")
    assert result.returncode == 3
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    "name",
    ["empty.onnx", "text.onnx", "text.tflite", "text.keras", "text.h5", "truncated.onnx", "missing.onnx", "folder"],
)
def test_a_file_that_is_no_model_is_one_line_and_exit_3(classifier: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("this is no model")
    elif name == "folder":
        path.mkdir()
    elif name.startswith("truncated"):
        path.write_bytes(classifier.read_bytes()[:-2000])
    elif name.startswith("empty"):
        path.touch()
    assert str(path) in error_of(edgekit("inspect", path), 3)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": np.full((4, 3, 16, 16), np.nan, np.float32)}, "NaN"),
        ({"x": np.full((4, 3, 16, 16), np.inf, np.float32)}, "inf"),
        ({"x": np.zeros((4, 16), np.float32)}, "(3, 16, 16)"),
        ({"imgae": np.zeros((4, 3, 16, 16), np.float32)}, '"image"'),
        ({"x": np.zeros((0, 3, 16, 16), np.float32)}, "samples"),
        ({"x": np.array([{}], dtype=object)}, "object"),
    ],
)
def test_bad_calibration_data_is_one_line_and_exit_3(
    classifier: Path, tmp_path: Path, arrays: dict[str, np.ndarray], told: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    line = error_of(edgekit("export", classifier, "-c", path, "-t", "x86-64", "-o", tmp_path / "dist"), 3)
    assert "bad.npz" in line and told.lower() in line.lower()
    assert not (tmp_path / "dist").exists()


def test_a_misspelt_key_in_a_profile_names_file_key_and_nearest(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.toml").write_text('description = "mine"\nextends = "x86-64"\npercision = "fp16"\n')
    line = error_of(edgekit("export", classifier, "-t", "mine", cwd=tmp_path), 3)
    assert "targets/mine.toml" in line and '"percision"' in line and '"precision"' in line


def test_inspect_prints_json(classifier: Path) -> None:
    result = edgekit("inspect", classifier, "--json")
    document = json.loads(result.stdout)
    assert document["model"]["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 16, 16]}]
    assert document["ops"]["Conv"] == 4
    # By hand: stem, depthwise, pointwise at 16x16, down at 4x4, fully connected.
    macs = 256 * 16 * 27 + 256 * 16 * 9 + 256 * 16 * 16 + 16 * 32 * 16 * 9 + 512 * 5
    assert document["model"]["macs"] == macs
    assert document["model"]["parameters"] == 16 * 27 + 16 + 16 * 9 + 16 * 16 + 32 * 16 * 9 + 512 * 5 + 5


def test_export_prints_a_table_on_stderr_and_json_on_stdout(
    classifier: Path, calibration: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dist"
    result = edgekit("export", classifier, "-c", calibration, "-t", "x86-64", "-o", out, "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document == json.loads((out / "manifest.json").read_text())
    assert "x86-64/toy.tflite" in result.stderr and "keep" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_keeps_what_was_there(
    classifier: Path, calibration: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "dist"
    (out / "x86-64").mkdir(parents=True)
    (out / "x86-64" / "toy.onnx").write_bytes(b"old")
    many = tmp_path / "many.npz"
    np.savez(many, x=np.tile(np.load(calibration)["x"], (400, 1, 1, 1)))
    command = [
        sys.executable,
        "-m",
        "edgekit",
        "export",
        str(classifier),
        "-c",
        str(many),
        "-t",
        "x86-64",
        "-o",
        str(out),
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # under nohup a hang-up is ignored
    )
    deadline = time.monotonic() + 60
    while not any(entry.name.startswith(".edgekit-") for entry in out.iterdir()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines() == ["edgekit: error: interrupted; no file is half-written"]
    assert [path.relative_to(out).as_posix() for path in out.rglob("*")] == ["x86-64", "x86-64/toy.onnx"]
    assert (out / "x86-64" / "toy.onnx").read_bytes() == b"old"


def test_targets_print_json() -> None:
    document = json.loads(edgekit("targets", "android-gpu", "--json").stdout)
    (target,) = document["targets"]
    assert document["schema"] == 1
    assert (target["name"], target["precision"]) == ("android-gpu", "fp16")
    assert "CONV_2D" in target["runtimes"]["tflite"]["accelerated_ops"]
    assert len(json.loads(edgekit("targets", "--json").stdout)["targets"]) >= 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "edgekit", "targets", "--json"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "edgekit: error: standard output: cannot be written (No space left on device); make room or redirect it"
    ]


def test_every_operator_that_tflite_lacks_is_named_at_once(tmp_path: Path) -> None:
    import onnx

    nodes = [
        onnx.helper.make_node("GridSample", ["x", "grid"], ["a"], name="warp"),
        onnx.helper.make_node("Det", ["a"], ["y"], name="determinant"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "strange",
        [
            onnx.helper.make_tensor_value_info("x", 1, [1, 2, 4, 4]),
            onnx.helper.make_tensor_value_info("grid", 1, [1, 4, 4, 2]),
        ],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 2])],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "strange.onnx"
    )
    line = error_of(
        edgekit("export", tmp_path / "strange.onnx", "-t", "x86-64", "-p", "fp32", "-o", tmp_path / "dist"), 4
    )
    assert "tflite" in line and "GridSample (node 'warp'" in line and "Det (node 'determinant'" in line
    assert not (tmp_path / "dist").exists()


def test_a_reader_that_leaves_early_is_no_error(classifier: Path, tmp_path: Path) -> None:
    export = f"{sys.executable} -m edgekit export {classifier} -t x86-64 -p fp32 -o {tmp_path}"
    shell = f"{export} 2>&1 | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", shell], check=False).returncode == 0
    assert (tmp_path / "manifest.json").exists()


def test_random_samples_are_called_so(classifier: Path, tmp_path: Path) -> None:
    result = edgekit("export", classifier, "-t", "x86-64", "-p", "fp32", "-o", tmp_path)
    assert "16 random samples, as no data was given" in result.stderr


def test_labels_that_do_not_fit_are_pointed_out(classifier: Path, evaluation: Path, tmp_path: Path) -> None:
    arrays = np.load(evaluation)
    np.savez(tmp_path / "wrong.npz", x=arrays["x"], y=(arrays["y"] + 1) % 5)
    options = ("-t", "x86-64", "-p", "fp32", "-o", tmp_path / "dist")
    result = edgekit("export", classifier, "--eval", tmp_path / "wrong.npz", *options)
    assert result.returncode == 0
    assert "warning: the source model itself has only" in result.stderr


def test_a_model_without_class_scores_is_exported_too(tmp_path: Path) -> None:
    import onnx

    weight = onnx.numpy_helper.from_array(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "w")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
        onnx.helper.make_node("ReduceSum", ["h"], ["y"], keepdims=0),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "scalar",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3])],
        [onnx.helper.make_tensor_value_info("y", 1, [])],
        [weight],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "scalar.onnx")
    result = edgekit("export", tmp_path / "scalar.onnx", "-t", "x86-64", "-p", "fp32", "-o", tmp_path / "dist")
    assert result.returncode == 0, result.stderr
