"""One request (a JSON line) on standard input, one answer (JSON) on standard output, an ONNX file in between.

Request: ``{"kind", "path", "input_shapes", "output"}``. Answer: ``{}`` or ``{"error": class, "message": one line}``.
The process ends when its standard input does: then nobody waits for the answer.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import IO

from edgekit.errors import EdgekitError


def main() -> None:
    """Serve one request."""
    answer = _claim_stdout()
    requests = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - lives as long as the process
    request = json.loads(requests.readline())
    sys.excepthook = lambda kind, error, trace: _report(answer, request, error, trace)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _convert(request)
    answer.write("{}")
    answer.flush()
    os._exit(0)  # TensorFlow's own tear-down takes seconds and may crash


def _claim_stdout() -> IO[str]:
    """Keep standard output for the answer; whatever the libraries print goes to standard error."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answer


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _convert(request: dict[str, object]) -> None:
    path, output = Path(str(request["path"])), Path(str(request["output"]))
    shapes = request["input_shapes"]
    assert isinstance(shapes, dict)
    input_shapes = {name: tuple(shape) for name, shape in shapes.items()}
    match request["kind"]:
        case "Keras":
            from edgekit.importers.tensorflow_worker.keras_model import convert_keras

            convert_keras(path, input_shapes, output)
        case "SavedModel":
            from edgekit.importers.tensorflow_worker.saved_model import convert_saved_model

            convert_saved_model(path, input_shapes, output)
        case "TFLite":
            from edgekit.importers.tensorflow_worker.tflite_file import convert_tflite

            convert_tflite(path, input_shapes, output)
        case kind:
            raise ValueError(f"unknown kind {kind!r}")


def _report(answer: IO[str], request: dict[str, object], error: BaseException, trace: TracebackType | None) -> None:
    """Answer with what ended the process: our own errors as they are, any other as one line."""
    traceback.print_exception(type(error), error, trace)
    if isinstance(error, EdgekitError):
        report = {"error": type(error).__name__, "message": str(error)}
    else:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = ": ".join([type(error).__name__, *lines[:1]])[:400].rstrip(". ")
        advice = "save it again with the library that made it, or export it to ONNX"
        report = {"error": "ModelError", "message": f"{request['kind']} import failed: {reason}; {advice}"}
    answer.write(json.dumps(report))
    answer.flush()


if __name__ == "__main__":
    main()
