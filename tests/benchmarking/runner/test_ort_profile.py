"""The times of operations from onnxruntime's events: both programs read the same out of them."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import edgekit.benchmarking.runner
from edgekit.benchmarking.runner import runner
from tests.benchmarking.runner.programs import PYTHON, native, run

SOURCES = Path(edgekit.benchmarking.runner.__file__).parent
Node = tuple[str, str, int, Sequence[Sequence["Node"]]]  # its kind, name and own time, and the graphs that it runs
Reader = Callable[[list[dict[str, Any]], int], list[tuple[str, str, float]]]


def events_of(runs: Sequence[Sequence[Node]]) -> list[dict[str, Any]]:
    """What onnxruntime 1.23 writes of these runs."""
    events: list[dict[str, Any]] = []
    clock = 0

    def write(category: str, name: str, start: int, **arguments: str) -> None:
        times = {"dur": clock - start, "ts": start}
        events.append({"cat": category, "pid": 1, "tid": 1, **times, "ph": "X", "name": name, "args": arguments})

    def execute(graph: Sequence[Node]) -> None:
        nonlocal clock
        start = clock
        for kind, name, duration, graphs in graph:
            begin = clock
            clock += duration
            for nested in graphs:
                clock += 1
                execute(nested)
            write("Node", f"{name}_kernel_time", begin, provider="CPU", op_name=kind)
            clock += 1
        write("Session", "SequentialExecutor::Execute", start)

    write("Session", "session_initialization", clock)
    for graph in runs:
        start = clock
        execute(graph)
        write("Session", "model_run", start)
    return events


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("profile")
    sources = [Path(__file__).with_name("profile.c"), SOURCES / "measure.c", SOURCES / "process.c"]
    subprocess.run([compiler, "-std=c11", "-I", SOURCES, *sources, "-o", folder / "profile", "-lm"], check=True)

    def read(events: list[dict[str, Any]], runs: int) -> list[tuple[str, str, float]]:
        lines = ",\n".join(json.dumps(event, separators=(",", " :")) for event in events)
        (folder / "events.json").write_text(f"[\n{lines}\n]\n")
        command = [folder / "profile", folder / "events.json", str(runs)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return [(op, node, float(mean)) for op, node, mean in rows]

    return read


def in_python(events: list[dict[str, Any]], runs: int) -> list[tuple[str, str, float]]:
    return [(entry["op"], entry["node"], entry["mean_us"]) for entry in runner.onnxruntime_profile(events, runs)]


WARMUP = [[("Add", "a", 1000, ())]] * runner.PROFILE_WARMUP_RUNS


def test_nodes_inside_a_loop_are_a_part_of_it(in_c):
    body = [("Relu", "inner", 10, ()), ("If", "choice", 2, [[("Neg", "deep", 5, ())]])]
    graph = [("Add", "a", 7, ()), ("Loop", "loop", 3, [body] * 4), ("Abs", "b", 9, ())]
    events = events_of([*WARMUP, graph, graph])
    once = 1 + 10 + 1 + 2 + 1 + 5 + 1 + 1  # with what events_of lets pass in between
    wanted = [("Add", "a", 7), ("Loop", "loop", 3 + 4 * once), ("Abs", "b", 9)]
    assert in_python(events, 2) == wanted == in_c(events, 2)


def test_nodes_of_one_name_are_one_entry_with_the_time_of_all(in_c):
    events = events_of([*WARMUP, *[[("Add", "a", 7, ()), ("Add", "a", 5, ()), ("Add", "b", 1, ())]] * 3])
    assert in_python(events, 3) == [("Add", "a", 12), ("Add", "b", 1)] == in_c(events, 3)


def test_runs_that_were_disturbed_do_not_count(in_c):
    runs = [[("Add", "a", time, ())] for time in (10, 10, 500_000, 12, 10, 12, 10, 12, 1, 12)]
    assert in_python(events_of([*WARMUP, *runs]), 10) == [("Add", "a", 11)] == in_c(events_of([*WARMUP, *runs]), 10)


GRAPHS = st.recursive(
    st.lists(
        st.tuples(st.just("Add"), st.sampled_from("abc"), st.integers(1, 50), st.just(())), min_size=1, max_size=4
    ),
    lambda graphs: st.lists(
        st.tuples(st.just("Loop"), st.sampled_from("lmn"), st.integers(1, 9), st.lists(graphs, max_size=3)),
        min_size=1,
        max_size=3,
    ),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(GRAPHS, min_size=1, max_size=12))
def test_both_programs_agree_on_the_nodes_of_the_main_graph(in_c, runs):
    events = events_of([*WARMUP, *runs])
    found = in_python(events, len(runs))
    assert found == [(op, node, pytest.approx(mean)) for op, node, mean in in_c(events, len(runs))]
    assert {(op, node) for op, node, _ in found} == {(kind, name) for graph in runs for kind, name, _, _ in graph}


def save_loop(path: Path) -> Path:
    """Four times x = relu(x) + 1, between a Neg and an Abs."""
    shape = (1, 1000)
    body = helper.make_graph(
        [
            helper.make_node("Relu", ["x_in"], ["positive"], name="inner_relu"),
            helper.make_node("Add", ["positive", "one"], ["x_out"], name="inner_add"),
            helper.make_node("Identity", ["go_on"], ["go_on_out"], name="inner_condition"),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x_in", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, shape),
        ],
        [helper.make_tensor("one", TensorProto.FLOAT, (1,), [1.0])],
    )
    nodes = [
        helper.make_node("Neg", ["x"], ["negative"], name="before"),
        helper.make_node("Loop", ["count", "", "negative"], ["last"], name="loop", body=body),
        helper.make_node("Abs", ["last"], ["y"], name="after"),
    ]
    graph = helper.make_graph(
        nodes,
        "loop",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("count", TensorProto.INT64, (), [4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("program", ["c", "python"])
def test_a_loop_in_onnxruntime(program, tmp_path):
    model = save_loop(tmp_path / "loop.onnx")
    profile = run(native() if program == "c" else PYTHON, model, tmp_path, "--profile").result["profile"]
    assert [(entry["op"], entry["node"]) for entry in profile] == [
        ("Neg", "before"),
        ("Loop", "loop"),
        ("Abs", "after"),
    ]
    assert profile[1]["mean_us"] > 0
