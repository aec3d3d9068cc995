"""Latency here, in one process and in turn: int8 ONNX against its float source, int8 TFLite against the peer's.

python benchmarks/latency.py [--rounds 200] [--threads 1]
"""

import tempfile
from pathlib import Path
from typing import Any

import datasets
import measurement
import numpy as np

import edgekit
from edgekit.release.manifest import Manifest


def main() -> None:
    """Two tables."""
    parser = measurement.parser("Latency of int8 artifacts")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx_rows = _onnx_rows(arguments.shared, folder, arguments.rounds, arguments.threads)
        tflite_rows = _tflite_rows(arguments.shared, folder, arguments.rounds, arguments.threads)
    how = f"{arguments.rounds} interleaved runs, {arguments.threads} thread(s), median (p90) ms"
    measurement.print_table(f"ONNX Runtime, {how}", ["model", "edgekit int8", "float source", "ratio"], onnx_rows)
    columns = ["model", "edgekit int8", "TFLiteConverter int8", "ratio"]
    measurement.print_table(f"LiteRT, int8 inputs and outputs, {how}", columns, tflite_rows)


def _onnx_rows(shared: Path, folder: Path, rounds: int, threads: int) -> list[list[object]]:
    workload = datasets.efficientnet_lite1(shared, folder)
    manifest = _export(workload, folder, io="float")
    sessions = {
        "ours": onnx_session(folder / "dist" / _artifact(manifest, "onnx"), threads),
        "float": onnx_session(workload.model, threads),
    }
    with np.load(workload.evaluation) as data:
        image = data["x"][:1]
    runs = {name: lambda session=session: _run_onnx(session, image) for name, session in sessions.items()}
    return [[workload.name, *_compared(measurement.interleaved(runs, rounds), "ours", "float")]]


def _tflite_rows(shared: Path, folder: Path, rounds: int, threads: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for workload, peer in (
        (datasets.resnet8(shared, folder), shared / "models/resnet8_cifar10_int8.tflite"),
        (datasets.keyword_spotting(shared, folder, "kws_saved_model"), shared / "models/kws_int8.tflite"),
        mobilenet_v2(folder),
    ):
        manifest = _export(workload, folder, io="int8")
        interpreters = {
            "ours": tflite_interpreter(folder / "dist" / _artifact(manifest, "tflite"), threads),
            "peer": tflite_interpreter(peer, threads),
        }
        runs = {name: interpreter.invoke for name, interpreter in interpreters.items()}
        rows.append([workload.name, *_compared(measurement.interleaved(runs, rounds), "ours", "peer")])
    return rows


def _export(workload: datasets.Workload, folder: Path, io: str) -> Manifest:
    return edgekit.export(
        workload.model, ["x86-64"], calibration=workload.calibration, io=io, max_drop=100.0, out=folder / "dist"
    )


def _artifact(manifest: Manifest, format_name: str) -> str:
    return next(str(each.path) for each in manifest.artifacts if each.format == format_name)


def _compared(timings: dict[str, measurement.Timing], ours: str, other: str) -> list[object]:
    texts = [f"{timings[name].median:.3f} ({timings[name].p90:.3f})" for name in (ours, other)]
    return [*texts, f"{timings[ours].median / timings[other].median:.3f}"]


def onnx_session(path: Path, threads: int) -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run_onnx(session: Any, image: Any) -> None:
    session.run(None, {session.get_inputs()[0].name: image})


def tflite_interpreter(path: Path, threads: int) -> Any:
    """A LiteRT interpreter with zeros in its input."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    return interpreter


def mobilenet_v2(folder: Path) -> tuple[datasets.Workload, Path]:
    """A network with random weights, and TFLiteConverter's full-integer file of it; random images calibrate both."""
    import keras_applications
    import tensorflow as tf

    model = keras_applications.build("MobileNetV2")
    images = np.random.default_rng(0).uniform(-1, 1, (16, 224, 224, 3)).astype(np.float32)
    np.savez(folder / "random.npz", x=images)
    model.save(folder / "mobilenet_v2.keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "peer.tflite").write_bytes(converter.convert())
    model_path, data = folder / "mobilenet_v2.keras", folder / "random.npz"
    return datasets.Workload("MobileNetV2 (random weights)", model_path, data, data), folder / "peer.tflite"


if __name__ == "__main__":
    main()
