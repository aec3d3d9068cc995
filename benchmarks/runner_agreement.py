"""Do edgekit's runners measure what others measure, and what do their own loops cost?

Pairs of fresh processes on one core, one after the other: edgekit's runner in C against LiteRT's own tool
(``ai_edge_litert.tools.benchmark_litert_model``), and against a loop around onnxruntime's ``session.run``. Each process
gives the median of its runs; the ratio is that of each pair, its median over all pairs. A pair that disagrees by chance
does not matter, a runner that adds or hides time does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import measurement
import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

import edgekit.benchmarking.runner
from edgekit.benchmarking.executors import open_executor
from edgekit.benchmarking.runner import runner as python_runner
from edgekit.benchmarking.runners import Limits, Prepared, Workload, find_runner
from edgekit.exporters import ExportOptions, find_exporter
from edgekit.interface import Precision
from edgekit.profiles.device import Device

AGREEMENT = 0.05
LIMITS = Limits(warmup_s=1.0, min_runs=30, min_s=0.5, max_s=5.0)
WARMUP_RUNS = 100
TIMEOUT_S = 120.0
HERE = Device("here", None, "this machine", "local")

# The tool rounds to 10 us; its own median is noted before. It runs as long as ours does.
LITERT_LOOP = """
import statistics, sys
from ai_edge_litert.tools import benchmark_litert_model as tool
model, runs, warmup = sys.argv[1:]
found, median = [], statistics.median
tool.statistics.median = lambda values: found.append(median(values)) or found[-1]
sys.argv = ["benchmark", "--model", model, "--num_runs", runs, "--warmup_runs", warmup, "--num_threads", "1"]
tool.run_benchmark(tool.parse_args())
print(found[-1])
"""

ONNXRUNTIME_LOOP = """
import statistics, sys, time
import numpy, onnxruntime
model, runs, warmup = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
(value,) = session.get_inputs()
dtype = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}[value.type]
feeds = {value.name: numpy.random.default_rng(0).uniform(-1, 1, value.shape).astype(dtype)}
times = []
for number in range(warmup + runs):
    start = time.perf_counter_ns()
    session.run(None, feeds)
    times.append(time.perf_counter_ns() - start)
print(statistics.median(times[warmup:]) / 1e6)
"""

EMPTY_LOOP = """
#include <stdio.h>
#include "measure.h"
static void run(void) {}
int main(void) {
    struct limits limits = {0.2, 200000, 0, 10, 200000};
    struct timing timing = measure(run, &limits);
    for (size_t i = 0; i < timing.count; i++) printf("%lld\\n", (long long)timing.times_ns[i]);
    return 0;
}
"""


@dataclass(frozen=True)
class Agreement:
    """Medians over all pairs: milliseconds of edgekit's runner and of the other loop, and the ratio within a pair."""

    ours_ms: float
    theirs_ms: float
    ratio: float


def main() -> int:
    """Print both tables; 1 when a ratio is off by more than 5 %."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="edgekit-agreement-") as folder, open_executor(HERE) as executor:
        models = arguments.models or _models(Path(folder), arguments.shared)
        agreements = {}
        for model in models:
            prepared = find_runner("edgekit").prepare(executor, HERE, model.suffix[1:])
            agreements[model] = _agreement(model, prepared, arguments.pairs, arguments.core)
        overheads = {"C": _overhead_in_c(Path(folder), arguments.core), "Python": _overhead_in_python()}
    rows = [
        [model.name, _peer(model), each.ours_ms, each.theirs_ms, each.ratio, "yes" if _agrees(each) else "no"]
        for model, each in agreements.items()
    ]
    columns = ["model", "against", "edgekit ms", "other ms", "ratio", "within 5 %"]
    measurement.print_table(f"edgekit's runner against others, {arguments.pairs} pairs of processes", columns, rows)
    measurement.print_table(
        "What the timed loop adds to each run (of an empty body)",
        ["program", "median ns", "p99 ns"],
        [[name, *values] for name, values in overheads.items()],
    )
    return 0 if all(_agrees(each) for each in agreements.values()) else 1


def _arguments() -> argparse.Namespace:
    parser = measurement.parser(__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, help=".tflite and .onnx files with one input of a fixed shape")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    return parser.parse_args()


def _agrees(agreement: Agreement) -> bool:
    return abs(agreement.ratio - 1) <= AGREEMENT


def _peer(model: Path) -> str:
    return "benchmark_litert_model" if model.suffix == ".tflite" else "session.run"


def _agreement(model: Path, prepared: Prepared, pairs: int, core: int) -> Agreement:
    ours, theirs = [], []
    loop = LITERT_LOOP if model.suffix == ".tflite" else ONNXRUNTIME_LOOP
    runs = str(max(LIMITS.min_runs, round(1000 * LIMITS.min_s / _ours(model, prepared, core))))
    command = [sys.executable, "-c", loop, str(model.absolute()), runs, str(min(WARMUP_RUNS, int(runs)))]
    measures: list[Callable[[], None]] = [
        lambda: ours.append(_ours(model, prepared, core)),
        lambda: theirs.append(float(_last_line(command, core))),
    ]
    for pair in range(pairs):
        for measure in measures if pair % 2 else reversed(measures):
            measure()
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Agreement(statistics.median(ours), statistics.median(theirs), statistics.median(ratios))


def _ours(model: Path, prepared: Prepared, core: int) -> float:
    workload = Workload(model.suffix[1:], str(model.absolute()), threads=1, limits=LIMITS)
    return statistics.median(json.loads(_last_line(prepared.command(workload), core))["times_ns"]) / 1e6


def _last_line(command: Sequence[str], core: int) -> str:
    pinned = ["taskset", "-c", str(core), *command]
    done = subprocess.run(pinned, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return done.stdout.strip().splitlines()[-1]


def _overhead_in_c(folder: Path, core: int) -> tuple[float, float]:
    sources = Path(edgekit.benchmarking.runner.__file__).parent
    program = folder / "empty"
    (folder / "empty.c").write_text(EMPTY_LOOP)
    files = [str(folder / "empty.c"), str(sources / "measure.c"), str(sources / "process.c")]
    subprocess.run(["cc", "-std=c11", "-O2", "-I", str(sources), *files, "-o", str(program)], check=True)
    done = subprocess.run(["taskset", "-c", str(core), str(program)], capture_output=True, text=True, check=True)
    return _summary([int(line) for line in done.stdout.split()])


def _overhead_in_python() -> tuple[float, float]:
    engine = python_runner.Engine()
    engine.run = lambda: None
    options = argparse.Namespace(min_runs=200_000, min_s=0, max_s=10, max_runs=200_000)
    return _summary(python_runner.timed_runs(engine, options))


def _summary(times_ns: Sequence[int]) -> tuple[float, float]:
    return statistics.median(times_ns), statistics.quantiles(times_ns, n=100)[-1]


def _models(folder: Path, shared: Path) -> list[Path]:
    """A network made here in both formats, and the real ones that are in ``shared``."""
    made = [folder / "made_here.tflite", folder / "made_here.onnx"]
    for path in made:
        find_exporter(path.suffix[1:]).export(_network(), ExportOptions(Precision.FP32), path)
    real = [shared / "models" / f"resnet8_cifar10_{precision}.tflite" for precision in ("float", "int8")]
    found = [path for path in real if path.is_file()]
    efficientnet = shared / "models" / "efficientnet_lite1.onnx"
    return [*made, *found, *([_fixed(efficientnet, folder)] if efficientnet.is_file() else [])]


def _fixed(model: Path, folder: Path) -> Path:
    """The model with a batch of one."""
    proto = onnx.load(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(proto, folder / model.name)
    return folder / model.name


def _network(layers: int = 6, channels: int = 32, size: int = 48) -> ir.Model:
    """Convolutions, a few milliseconds' worth."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(channels, channels, 3, 3), scale=0.1).astype(np.float32) for _ in range(layers)]
    nodes = []
    for number in range(layers):
        name = f"conv{number}"
        nodes.append(helper.make_node("Conv", [f"x{number}", name], [f"c{number}"], name=name, pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"x{number + 1}"], name=f"relu{number}"))
        nodes[-2].attribute.append(helper.make_attribute("kernel_shape", [3, 3]))
    shape = [1, channels, size, size]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"x{layers}", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, f"conv{number}") for number, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, strict_mode=True))


if __name__ == "__main__":
    sys.exit(main())
