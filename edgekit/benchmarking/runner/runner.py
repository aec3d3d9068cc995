#!/usr/bin/env python3
"""Measures one model in one runtime and writes one line of JSON: edgekit-runner in Python.

One file that runs by itself on Python 3.7 or later with numpy and the runtime's wheel (ai-edge-litert or
tflite-runtime, onnxruntime, MNN), so that it can be sent to a board. Its command line, exit codes and output are those
of the C program (options.c, process.h, main.c). Timed is one call into the runtime, nothing else: no copies, no garbage
collection.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

Array = Any

NO_LIBRARY, MODEL_REFUSED, INFERENCE_FAILED, INPUT_OUTPUT = 3, 4, 5, 6

# The rule of the warm-up is told in edgekit/benchmarking/protocol.py.
SETTLED_CHANGE = 0.02
WINDOW_RUNS, WINDOW_NS = 5, 50_000_000
SLOW_WINDOW_RUNS, SLOW_RUN_NS = 2, 200_000_000
WINDOWS_AT_LEAST = 2  # what it takes to compare; the warm-up lasts until then even when its time is over

MOST_RUNS, MOST_THREADS, LONGEST_S = 1_000_000_000, 1024, 1_000_000

# A profile is a mean (mean_times) over at least this many runs, and over as many as this long takes.
PROFILE_RUNS, PROFILE_RUNS_AT_MOST, PROFILE_NS = 10, 200, 300_000_000
PROFILE_WARMUP_RUNS = 3


class Failure(Exception):  # noqa: N818
    """The program ends with this exit code and reason."""

    def __init__(self, code: int, reason: object) -> None:
        super().__init__(reason)
        self.code = code


class Tensor:
    """An input or output; ``shape`` is None when the file does not fix it."""

    def __init__(self, name: str, dtype: Any, shape: Sequence[int] | None) -> None:
        self.name = name
        self.dtype = np.dtype(dtype)
        self.shape = None if shape is None else tuple(int(size) for size in shape)


class Engine:
    """A loaded model: what a runtime must do to be measured."""

    version: str | None = None
    inputs: list[Tensor]
    refusals: tuple[type[Exception], ...] = (ValueError, RuntimeError)
    """What the runtime raises when it cannot run the model."""

    run: Callable[[], Any]
    """One inference on what was set."""

    @staticmethod
    def import_runtime() -> Any:
        """The runtime's module; the time that it takes is not the model's."""
        raise NotImplementedError

    def set_input(self, index: int, content: Array) -> None:
        """Set the input of this number."""
        raise NotImplementedError

    def before_run(self) -> None:
        """What is not timed: whatever must be done before each run."""

    def outputs(self) -> list[Array]:
        """The outputs of the last run, in the file's order."""
        raise NotImplementedError

    def delegation(self) -> tuple[int, int, int] | None:
        """Operations of the file that a delegate took, all operations, and in how many parts."""
        return None

    def profile(self, runs: int) -> list[dict[str, Any]]:
        """The mean time of every operation, from ``runs`` more runs; nothing when the runtime does not tell."""
        return []


class LiteRt(Engine):
    """.tflite files in ai-edge-litert's interpreter, or tflite-runtime's. Neither tells the times of operations."""

    @staticmethod
    def import_runtime() -> Any:
        """See :class:`Engine`."""
        try:
            from ai_edge_litert import interpreter as module
        except ImportError:
            from tflite_runtime import interpreter as module  # boards with an old Python
        return module

    def __init__(self, module: Any, options: argparse.Namespace) -> None:
        keywords = {"model_path": options.model, "num_threads": options.threads}
        if options.delegate == "none":
            keywords["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self.interpreter = module.Interpreter(**keywords)
            self.interpreter.allocate_tensors()
        except self.refusals as error:
            raise Failure(MODEL_REFUSED, f"LiteRT: {error}") from error
        names = self._signature_names()
        self.details = self.interpreter.get_input_details()
        self.inputs = [
            Tensor(names.get(detail["index"], detail["name"]), detail["dtype"], detail["shape"])
            for detail in self.details
        ]
        self.run = self.interpreter.invoke

    def set_input(self, index: int, content: Array) -> None:
        """See :class:`Engine`."""
        self.interpreter.set_tensor(self.details[index]["index"], content)

    def outputs(self) -> list[Array]:
        """See :class:`Engine`."""
        return [self.interpreter.get_tensor(detail["index"]) for detail in self.interpreter.get_output_details()]

    def _signature_names(self) -> dict[int, str]:
        list_signatures = getattr(self.interpreter, "_get_full_signature_list", dict)
        for signature in list_signatures().values():
            return {index: name for name, index in signature["inputs"].items()}
        return {}

    def delegation(self) -> tuple[int, int, int] | None:
        """DELEGATE nodes come after the file's own; each covers what lies between its inputs and its outputs."""
        list_ops = getattr(self.interpreter, "_get_ops_details", None)
        if list_ops is None:
            return None
        ops = list_ops()
        own = [op for op in ops if op["op_name"] != "DELEGATE"]
        producer = {int(tensor): op for op in own for tensor in op["outputs"]}
        covered: set[int] = set()
        for delegate in (op for op in ops if op["op_name"] == "DELEGATE"):
            border = {int(tensor) for tensor in delegate["inputs"]}
            pending = [int(tensor) for tensor in delegate["outputs"]]
            while pending:
                op = producer.get(pending.pop())
                if op is None or int(op["index"]) in covered:
                    continue
                covered.add(int(op["index"]))
                pending.extend(int(tensor) for tensor in op["inputs"] if int(tensor) not in border)
        return len(covered), len(own), len(ops) - len(own)


class OnnxRuntime(Engine):
    """.onnx files on onnxruntime's CPU execution provider; inputs and outputs stay bound to the same memory."""

    @staticmethod
    def import_runtime() -> Any:
        """See :class:`Engine`."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        return onnxruntime

    def __init__(self, module: Any, options: argparse.Namespace) -> None:
        errors = module.capi.onnxruntime_pybind11_state
        names = "Fail InvalidArgument InvalidGraph InvalidProtobuf NoSuchFile NotImplemented RuntimeException EPFail"
        self.refusals += tuple(getattr(errors, name) for name in names.split() if hasattr(errors, name))
        self.module = module
        self.options = options
        self.version = str(module.__version__)
        self.values: dict[str, Any] = {}
        self.session = self._open()
        self.binding = self.session.io_binding()
        self.inputs = [self._tensor(argument, batch=1) for argument in self.session.get_inputs()]
        for tensor in self.inputs:
            if tensor.shape is None:
                raise Failure(MODEL_REFUSED, f'input "{tensor.name}" has a dynamic dimension: fix its shape')
        self._bind_outputs(self.session, self.binding)
        self.run = lambda: self.session.run_with_iobinding(self.binding)

    def set_input(self, index: int, content: Array) -> None:
        """See :class:`Engine`."""
        name = self.inputs[index].name
        self.values[name] = self.module.OrtValue.ortvalue_from_numpy(content)
        self.binding.bind_ortvalue_input(name, self.values[name])

    def outputs(self) -> list[Array]:
        """See :class:`Engine`."""
        return [value.numpy() for value in self.binding.get_outputs()]

    def profile(self, runs: int) -> list[dict[str, Any]]:
        """See :class:`Engine`."""
        session = self._open(profile_prefix=f"edgekit-profile-{os.getpid()}")
        binding = session.io_binding()
        for name, value in self.values.items():
            binding.bind_ortvalue_input(name, value)
        self._bind_outputs(session, binding)
        for _ in range(runs + PROFILE_WARMUP_RUNS):
            session.run_with_iobinding(binding)
        path = session.end_profiling()
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            events = json.load(file)
        os.remove(path)  # noqa: PTH107
        return onnxruntime_profile(events, runs)

    def _open(self, profile_prefix: str | None = None) -> Any:
        options = self.module.SessionOptions()
        options.intra_op_num_threads = self.options.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.execution_mode = self.module.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self.module.GraphOptimizationLevel.ORT_ENABLE_ALL
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        try:
            return self.module.InferenceSession(self.options.model, options, providers=["CPUExecutionProvider"])
        except self.refusals as error:
            raise Failure(MODEL_REFUSED, f"onnxruntime: {error}") from error

    def _tensor(self, argument: Any, batch: int | None = None) -> Tensor:
        kinds = {"float": "float32", "double": "float64"}
        kind = argument.type[len("tensor(") : -1]
        try:
            dtype = np.dtype(kinds.get(kind, kind if argument.type.startswith("tensor(") else ""))
        except TypeError as error:
            reason = f'"{argument.name}" is {argument.type}; expected a tensor of numbers'
            raise Failure(MODEL_REFUSED, reason) from error
        if dtype.kind not in "biuf":
            raise Failure(MODEL_REFUSED, f'"{argument.name}" is {argument.type}; expected numbers')
        shape = list(argument.shape)
        if shape and not isinstance(shape[0], int):
            shape[0] = batch  # open: 1 for an input, as everywhere in edgekit; an output's is what comes of it
        fixed = all(isinstance(size, int) and size >= 0 for size in shape)
        return Tensor(argument.name, dtype, shape if fixed else None)

    def _bind_outputs(self, session: Any, binding: Any) -> None:
        for tensor in [self._tensor(argument) for argument in session.get_outputs()]:
            if tensor.shape is None:
                binding.bind_output(tensor.name)
            else:
                value = self.module.OrtValue.ortvalue_from_numpy(np.zeros(tensor.shape, tensor.dtype))
                binding.bind_ortvalue_output(tensor.name, value)


class Mnn(Engine):
    """.mnn files on MNN's CPU backend; floats are computed in float32 (precision 1 is "high") on ARM, too."""

    @staticmethod
    def import_runtime() -> Any:
        """See :class:`Engine`."""
        import MNN  # never MNN.tools, which installs packages and sends telemetry

        return MNN

    def __init__(self, module: Any, options: argparse.Namespace) -> None:
        self.module = module
        # Settings that are no integers are ignored.
        settings = {"backend": "CPU", "numThread": options.threads, "precision": 1}
        if options.memory == "low":
            settings["memory"] = 2
        try:
            self.interpreter = module.Interpreter(options.model)
            self.session = self.interpreter.createSession(settings)
        except Exception as error:
            if type(error) is not Exception:  # MNN raises nothing more specific
                raise
            raise Failure(MODEL_REFUSED, f"MNN: {error}") from error
        self.input_tensors = self.interpreter.getSessionInputAll(self.session)
        self.output_tensors = self.interpreter.getSessionOutputAll(self.session)
        if not self.output_tensors:
            raise Failure(MODEL_REFUSED, "MNN: finds no outputs in the file")
        self.inputs = [self._tensor(name, tensor) for name, tensor in self.input_tensors.items()]
        self.fed: dict[int, tuple[Any, Any, Array]] = {}
        self.run = self._run

    def set_input(self, index: int, content: Array) -> None:
        """See :class:`Engine`."""
        tensor = self.input_tensors[self.inputs[index].name]
        layout = self.module.Tensor_DimensionType_Caffe  # plain row-major, whatever layout MNN chose inside
        self.fed[index] = tensor, self.module.Tensor(content.shape, tensor.getDataType(), content, layout), content

    def before_run(self) -> None:
        """MNN computes in the memory of its inputs: without this, each run gets what the one before left there."""
        for tensor, host, _ in self.fed.values():
            tensor.copyFrom(host)

    def outputs(self) -> list[Array]:
        """See :class:`Engine`."""
        layout = self.module.Tensor_DimensionType_Caffe
        results = []
        for name, tensor in self.output_tensors.items():
            found = self._tensor(name, tensor)
            buffer = np.zeros(found.shape or (), found.dtype)
            host = self.module.Tensor(found.shape, tensor.getDataType(), buffer, layout)
            tensor.copyToHostTensor(host)
            results.append(np.array(host.getNumpyData(), copy=True).reshape(found.shape or ()))
        return results

    def profile(self, runs: int) -> list[dict[str, Any]]:
        """See :class:`Engine`."""
        for _ in range(PROFILE_WARMUP_RUNS):
            self._run_with_times()
        times = mean_times([self._run_with_times() for _ in range(runs)])
        has_int8 = any("DT_INT8" in kind for kind, _ in times)
        return [
            {"op": kind.split()[0], "node": name, "mean_us": us, "accelerated": "DT_INT8" in kind if has_int8 else None}
            for (kind, name), us in times.items()
        ]

    def _run(self) -> None:
        code = self.interpreter.runSession(self.session)
        if code:
            raise Failure(INFERENCE_FAILED, f"MNN: error code {code}")

    def _run_with_times(self) -> dict[tuple[str, str], float]:
        """The microseconds that each operation, by its kind and name, took in one run."""
        times: dict[tuple[str, str], float] = {}
        started = [0]

        def begin(tensors: Any, operation: Any) -> bool:
            started[0] = time.perf_counter_ns()
            return True

        def end(tensors: Any, operation: Any) -> bool:
            taken = time.perf_counter_ns() - started[0]
            key = operation.getType().strip() or "?", operation.getName()
            times[key] = times.get(key, 0.0) + taken / 1e3
            return True

        self.before_run()
        self.interpreter.runSessionWithCallBackInfo(self.session, begin, end)
        return times

    def _tensor(self, name: str, tensor: Any) -> Tensor:
        mnn = self.module
        dtypes = {
            mnn.Halide_Type_Float: "float32",
            mnn.Halide_Type_Int: "int32",
            mnn.Halide_Type_Uint8: "uint8",
            mnn.Halide_Type_Int64: "int64",
        }
        dtype, shape = dtypes.get(tensor.getDataType()), tensor.getShape()
        if dtype is None or any(size < 0 for size in shape):
            raise Failure(MODEL_REFUSED, f'MNN: gives "{name}" the shape {shape} and no type that it can run')
        return Tensor(name, dtype, shape)


RUNTIMES: dict[str, Any] = {"litert": LiteRt, "onnxruntime": OnnxRuntime, "mnn": Mnn}


def mean_times(runs: Sequence[dict[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    """The mean of each operation's times, without the slowest and the fastest tenth of the runs.

    Those say more of the machine than of the model.
    """
    operations = dict.fromkeys(key for run in runs for key in run)
    cut = len(runs) // 10
    means = {}
    for key in operations:
        times = sorted(run.get(key, 0.0) for run in runs)[cut : len(runs) - cut]
        means[key] = sum(times) / len(times)
    return means


def onnxruntime_profile(events: list[dict[str, Any]], runs: int) -> list[dict[str, Any]]:
    """The mean time of every node over the last ``runs`` runs, in the order in which they run.

    An event is written when what it times has ended: those of nodes before that of the execution of their graph, and
    that of the main graph before that of the run. Operations are those of the main graph: the time of a Loop or an If
    has that of all that it runs.
    """
    found: list[dict[tuple[str, str], float]] = []
    nodes: list[tuple[tuple[str, str], int, int]] = []  # of this run: which, begin, duration
    ended_graph: int | None = None  # when the graph began whose execution was the last event
    ending = "_kernel_time"
    for event in events:
        is_node = event.get("cat") == "Node" and event["name"].endswith(ending)
        if event["name"] == "model_run":
            found.append({})
            for key, _, duration in nodes:
                found[-1][key] = found[-1].get(key, 0.0) + duration
            nodes, ended_graph = [], None
        elif is_node or event["name"] == "SequentialExecutor::Execute":
            while ended_graph is not None and nodes and nodes[-1][1] >= ended_graph:
                nodes.pop()  # of a graph inside a node
            ended_graph = None if is_node else event["ts"]
            if is_node:
                key = event["args"]["op_name"], source_name(event["name"][: -len(ending)])
                nodes.append((key, event["ts"], event["dur"]))
    return [
        {"op": op, "node": node, "mean_us": mean, "accelerated": None}
        for (op, node), mean in mean_times(found[-runs:]).items()
    ]


def source_name(node: str) -> str:
    """The name in the file of a node that onnxruntime has changed.

    One that it has fused is NAME_token_NUMBER; one in its blocked layout is OUTPUT_nchwc, after its output.
    """
    if node.endswith("_nchwc"):
        node = node[: -len("_nchwc")]
    name, separator, number = node.rpartition("_token_")
    return name if separator and number.isdigit() else node


def make_up(tensor: Tensor, generator: Any) -> Array:
    """Seeded uniform floats in [-1, 1), random codes of 8 and signed 16 bits, zeros for other integers."""
    shape, dtype = tensor.shape or (), tensor.dtype
    if dtype.kind == "f":
        return generator.uniform(-1, 1, shape).astype(dtype)
    if dtype.name in ("int8", "uint8", "int16"):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max + 1, shape).astype(dtype)
    return np.zeros(shape, dtype)


def read_input(path: str, tensor: Tensor) -> Array:
    """The raw content of a file as this tensor."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise Failure(INPUT_OUTPUT, error) from error
    shape = tensor.shape or ()
    expected = int(np.prod(shape, dtype=np.int64)) * tensor.dtype.itemsize
    if content.size != expected:
        raise Failure(INPUT_OUTPUT, f'{path}: expected {expected} bytes, which input "{tensor.name}" has')
    return content.view(tensor.dtype).reshape(shape)


def set_inputs(engine: Engine, given: Sequence[str]) -> None:
    """Every input: from its file, else made up."""
    files = dict(argument.rpartition("=")[::2] for argument in given)
    unknown = set(files) - {tensor.name for tensor in engine.inputs}
    if unknown:
        raise Failure(2, f"--input {min(unknown)}: the model has no such input")
    generator = np.random.default_rng(20)
    for index, tensor in enumerate(engine.inputs):
        path = files.get(tensor.name)
        engine.set_input(index, make_up(tensor, generator) if path is None else read_input(path, tensor))


def write_outputs(engine: Engine, folder: str) -> None:
    """Every output of the last run as ``folder``/<index>.bin."""
    try:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        for index, output in enumerate(engine.outputs()):
            np.ascontiguousarray(output).tofile(os.path.join(folder, f"{index}.bin"))  # noqa: PTH118
    except OSError as error:
        raise Failure(INPUT_OUTPUT, error) from error


def time_once(engine: Engine) -> int:
    """How long one run took, in nanoseconds."""
    engine.before_run()
    start = time.perf_counter_ns()
    engine.run()
    return time.perf_counter_ns() - start


def warm_up(engine: Engine, warmup_s: float) -> tuple[int, bool]:
    """How many runs it took, and whether the median settled; none for 0 seconds."""
    if warmup_s <= 0:
        return 0, False
    end = time.perf_counter_ns() + int(warmup_s * 1e9)
    runs, windows, previous = 0, 0, 0.0
    window = array("q")
    while time.perf_counter_ns() < end or windows < WINDOWS_AT_LEAST:
        last = time_once(engine)
        runs += 1
        window.append(last)
        full = len(window) >= WINDOW_RUNS and sum(window) >= WINDOW_NS
        if not (len(window) >= SLOW_WINDOW_RUNS if last > SLOW_RUN_NS else full):
            continue
        current = statistics.median(window)
        if previous and abs(current - previous) < SETTLED_CHANGE * previous:
            return runs, True
        previous, window = current, array("q")
        windows += 1
    return runs, False


def timed_runs(engine: Engine, options: argparse.Namespace) -> array[int]:
    """The time of every run, in nanoseconds, until there are enough."""
    times = array("q")
    run, before_run = engine.run, engine.before_run
    clock = time.perf_counter_ns
    start = clock()
    while True:
        before_run()
        before = clock()
        run()
        after = clock()
        times.append(after - before)
        elapsed = (after - start) / 1e9
        enough = len(times) >= options.min_runs and elapsed >= options.min_s
        if enough or elapsed >= options.max_s or len(times) >= options.max_runs:
            return times


def peak_memory_kb() -> int | None:
    """The most memory that this process had in use (VmHWM)."""
    try:
        with open("/proc/self/status") as file:  # noqa: PTH123
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def tell_stage(stage: str) -> None:
    """Say what begins, as the C program does (process.h): a crash tells nothing."""
    sys.stderr.write(f"edgekit-runner: stage: {stage}\n")
    sys.stderr.flush()


def load(options: argparse.Namespace) -> tuple[Engine, float]:
    """The model, ready to run, and how many microseconds that took."""
    runtime = RUNTIMES[options.runtime]
    try:
        module = runtime.import_runtime()
    except ImportError as error:
        raise Failure(NO_LIBRARY, error) from error
    tell_stage("loading")
    start = time.perf_counter_ns()
    try:
        engine: Engine = runtime(module, options)
    except runtime.refusals as error:
        raise Failure(MODEL_REFUSED, f"{options.runtime}: {error}") from error
    return engine, (time.perf_counter_ns() - start) / 1e3


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole trial."""
    engine, load_us = load(options)
    try:
        set_inputs(engine, options.input)
        tell_stage("running")
        return run_all(engine, options, load_us)
    except engine.refusals as error:
        raise Failure(INFERENCE_FAILED, f"{options.runtime}: {error}") from error


def run_all(engine: Engine, options: argparse.Namespace, load_us: float) -> dict[str, Any]:
    """The first run, the warm-up, the timed runs and the profile."""
    gc.collect()
    gc.disable()
    first_us = time_once(engine) / 1e3
    warmup_runs, settled = warm_up(engine, options.warmup_s)
    peak = peak_memory_kb()  # the list of times grows
    times = timed_runs(engine, options)
    gc.enable()
    if options.output_folder:
        write_outputs(engine, options.output_folder)
    runs = int(min(max(PROFILE_NS / max(1, times[-1]), PROFILE_RUNS), PROFILE_RUNS_AT_MOST))
    accelerated, total, partitions = engine.delegation() or (None, None, None)
    return {
        "edgekit_runner": 1,
        "runtime": options.runtime,
        "runtime_version": engine.version,
        "load_us": load_us,
        "first_us": first_us,
        "warmup_runs": warmup_runs,
        "settled": settled,
        "times_ns": times.tolist(),
        "peak_memory_kb": peak,
        "accelerated_ops": accelerated,
        "total_ops": total,
        "partitions": partitions,
        "profile": engine.profile(runs) if options.profile else [],
    }


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; ``--library`` is the C program's, ``--memory`` is not."""
    parser = argparse.ArgumentParser(prog="edgekit-runner")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), required=True)
    parser.add_argument("--library")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--delegate", choices=("xnnpack", "none"), default="xnnpack")
    parser.add_argument("--memory", choices=("normal", "low"), default="normal", help="MNN's; low keeps int8 weights")
    parser.add_argument("--warmup-s", type=float, required=True)
    parser.add_argument("--min-runs", type=int, required=True)
    parser.add_argument("--min-s", type=float, required=True)
    parser.add_argument("--max-s", type=float, required=True)
    parser.add_argument("--max-runs", type=int, default=MOST_RUNS)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--output-folder")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= MOST_THREADS or min(options.min_runs, options.max_runs) < 1:
        parser.error(f"--threads is from 1 to {MOST_THREADS}, --min-runs and --max-runs are at least 1")
    if not all(0 <= seconds <= LONGEST_S for seconds in (options.warmup_s, options.min_s, options.max_s)):
        parser.error(f"seconds are from 0 to {LONGEST_S}: at least 0 and a number")
    if any(not all(argument.rpartition("=")[::2]) for argument in options.input):
        parser.error("--input: expected NAME=FILE")
    return options


def main() -> NoReturn:
    """Run, write the JSON as the last line of standard output, and leave without the runtime's destructors."""
    options = parse_options(None)
    # Native libraries print on standard output, and not when one expects it.
    result = os.dup(1)
    os.dup2(2, 1)
    code = 0
    try:
        document = measure(options)
        with os.fdopen(result, "w") as file:
            file.write(json.dumps(document) + "\n")
    except Failure as failure:
        code = failure.code
        sys.stderr.write("edgekit-runner: " + " ".join(str(failure).split()) + "\n")
    except OSError as error:
        code = INPUT_OUTPUT
        sys.stderr.write(f"edgekit-runner: {error}\n")
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
