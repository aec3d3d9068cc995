"""Wall time and memory of a whole export to three formats, against onnxruntime's quantize_static to one.

    python benchmarks/export_cost.py [--pairs 5]

Both are whole processes, Python's start and imports included, run in turn. edgekit imports, calibrates, writes three
files and verifies each in its runtime on the calibration samples; the peer calibrates (MinMax) and writes one file.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import datasets
import measurement

_PEER = """
import sys
import numpy as np
from numpy.lib import format as npy
import zipfile
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

class Reader(CalibrationDataReader):
    def __init__(self, path, name):
        self.stream, self.name, self.left = zipfile.ZipFile(path).open("x.npy"), name, 0
        npy.read_magic(self.stream)
        shape, _, self.dtype = npy.read_array_header_1_0(self.stream)
        self.left, self.shape = shape[0], (1, *shape[1:])

    def get_next(self):
        if not self.left:
            return None
        self.left -= 1
        count = int(np.prod(self.shape)) * self.dtype.itemsize
        return {self.name: np.frombuffer(self.stream.read(count), self.dtype).reshape(self.shape)}

model, data, out, name = sys.argv[1:]
quantize_static(
    model, out, Reader(data, name), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
)
"""


def main() -> None:
    """One table: 63 and 630 samples."""
    parser = measurement.parser("Cost of exporting EfficientNet-Lite1")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    rows, peaks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload = datasets.efficientnet_lite1(arguments.shared, folder)
        for samples, data in ((63, workload.calibration), (630, datasets.repeated(workload.calibration, 10))):
            ours, peers = _pairs(workload.model, data, folder, arguments.pairs)
            rows.append([samples, "edgekit, 3 formats, verified", *_medians(ours), _ratio(ours, peers)])
            rows.append([samples, "onnxruntime quantize_static, 1 format", *_medians(peers), "1"])
            peaks.append(_medians(ours)[1])
    columns = ["samples", "tool", "median s", "median peak MB", "time / onnxruntime"]
    measurement.print_table(f"Export of EfficientNet-Lite1, {arguments.pairs} interleaved pairs", columns, rows)
    print(f"\nedgekit's peak with 630 samples / with 63: {peaks[1] / peaks[0]:.3f}")


def _pairs(model: Path, data: Path, folder: Path, pairs: int) -> tuple[list[measurement.Cost], list[measurement.Cost]]:
    edgekit = [sys.executable, "-m", "edgekit", "export", str(model), "-c", str(data), "-t", "x86-64"]
    edgekit += ["-o", str(folder / "dist")]
    peer = [sys.executable, "-c", _PEER, str(model), str(data), str(folder / "peer.onnx"), _input_name(model)]
    ours, peers = [], []
    for index in range(pairs):
        for command, costs in ((edgekit, ours), (peer, peers))[:: -1 if index % 2 else 1]:
            costs.append(measurement.cost(command))
    return ours, peers


def _input_name(model: Path) -> str:
    import onnx

    return onnx.load(model, load_external_data=False).graph.input[0].name


def _medians(costs: list[measurement.Cost]) -> tuple[float, float]:
    return statistics.median(each.seconds for each in costs), statistics.median(each.peak_mb for each in costs)


def _ratio(ours: list[measurement.Cost], peers: list[measurement.Cost]) -> float:
    return statistics.median(a.seconds / b.seconds for a, b in zip(ours, peers, strict=True))


if __name__ == "__main__":
    main()
