from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.runners import OpTime, find_runner
from edgekit.benchmarking.runners.mnnv2basic import PreparedMnnv2Basic, takes_precision
from edgekit.errors import DeviceError, GateError, ModelError
from tests.benchmarking.runners.recorded import FOLDER, completed, program, workload


@dataclass
class Replay:
    """A device on which every command writes the same; it remembers them."""

    answer: Completed
    commands: list[Sequence[str]] = field(default_factory=list)
    facts: DeviceFacts = field(default_factory=lambda: DeviceFacts("replay", "adb"))
    folder: str = "/data/session"

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        raise NotImplementedError

    def pull(self, remote: str, local: Path) -> None:
        raise NotImplementedError

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        self.commands.append(command)
        return self.answer


def prepare(recorded: str, *, precision: bool = True) -> PreparedMnnv2Basic:
    return PreparedMnnv2Basic(Replay(completed(recorded)), program("MNNV2Basic"), precision)


def test_mean_and_operations_of_version_3():
    trial = prepare("mnnv2basic_3_0").parse(completed("mnnv2basic_3_0"), workload(None, profile=True))
    assert (trial.runs, trial.mean_ms, trial.median_ms, trial.load_ms) == (10, 5.5706, None, 8.656)
    assert trial.profile[1:3] == (
        OpTime("BinaryOp", "452", 0.0047),
        OpTime("ConvInt8", "model/conv 1/Relu6;model/conv 1/BiasAdd", 0.4526),
    )
    assert trial.peak_memory_bytes is None  # what it tells is the session's, not the process's


def test_mean_and_operations_of_version_1():
    trial = prepare("mnnv2basic_1_2").parse(completed("mnnv2basic_1_2"), workload(None, profile=True))
    assert (trial.runs, trial.mean_ms) == (10, 5.5706)
    assert trial.profile[-1] == OpTime("", "483", 0.4526)


def test_no_operations_unless_asked_for():
    assert prepare("mnnv2basic_3_0").parse(completed("mnnv2basic_3_0"), workload(None)).profile == ()


def test_exit_code_0_says_nothing():
    with pytest.raises(ModelError, match="/data/model: MNNV2Basic refuses it: Invalidate buffer to create interpreter"):
        prepare("mnnv2basic_3_0").parse(completed("mnnv2basic_refused"), workload(None))
    with pytest.raises(DeviceError, match="said nothing of any time: Bus error"):
        prepare("mnnv2basic_3_0").parse(Completed(0, "Open Model m.mnn\nBus error", ""), workload(None))


def test_a_backend_that_is_not_there_is_no_measurement():
    prepared = prepare("mnnv2basic_3_0")
    with pytest.raises(GateError, match=r"/data/model: MNNV2Basic ran on backend 0, not on 3 \(OPENCL\)"):
        prepared.parse(completed("mnnv2basic_no_opencl"), workload("OPENCL"))
    silent = (FOLDER / "mnnv2basic_no_opencl.txt").read_text().replace("backendType is 0", "")
    with pytest.raises(GateError, match="does not say on which backend it ran, not on 7"):
        prepared.parse(Completed(0, silent, ""), workload("VULKAN"))
    assert prepared.parse(Completed(0, silent, ""), workload(None)).mean_ms == 5.5706


def test_a_gpu_is_asked_for_with_its_own_tuning_instead_of_threads():
    on_gpu = (FOLDER / "mnnv2basic_3_0.txt").read_text().replace("backendType is 13", "backendType is 3")
    prepared = PreparedMnnv2Basic(Replay(Completed(0, on_gpu, "")), program("MNNV2Basic"), True)
    assert prepared.command(workload("OPENCL"))[-3:] == ["3", "4", "1"]
    assert prepared.parse(Completed(0, on_gpu, ""), workload("OPENCL")).partitions == 1


def test_int8_weights_are_calculated_with_in_int8():
    """Precision and memory mode are one number; the program prints what it understood."""
    dynamic = replace(workload(None), precision="int8-dynamic")
    low = (FOLDER / "mnnv2basic_3_0.txt").read_text().replace("memory: 0", "memory: 2")
    prepared = PreparedMnnv2Basic(Replay(Completed(0, low, "")), program("MNNV2Basic"), True)
    assert prepared.command(dynamic)[-1] == str(1 + 4 * 2)
    assert prepared.command(replace(dynamic, precision="int8"))[-1] == "1"
    assert prepared.parse(Completed(0, low, ""), dynamic).mean_ms == 5.5706
    for other in ("mnnv2basic_3_0", "mnnv2basic_1_2"):
        with pytest.raises(DeviceError, match="calculates /data/model in float: it has no memory mode"):
            prepare(other).parse(completed(other), dynamic)


def test_the_order_of_the_arguments_is_that_of_the_version():
    assert takes_precision(program("MNNV2Basic"), completed("mnnv2basic_usage_3_0"))
    assert not takes_precision(program("MNNV2Basic"), completed("mnnv2basic_usage_1_2"))
    with pytest.raises(DeviceError, match="which prints its arguments"):
        takes_precision(program("MNNV2Basic"), Completed(0, "hello", ""))


@pytest.mark.parametrize(("precision", "last"), [(True, ["2", "1"]), (False, ["0", "2"])])
def test_the_command_fits_the_version(precision: bool, last: list[str]):
    command = prepare("mnnv2basic_3_0", precision=precision).command(workload(None))
    assert command[:2] == ["/data/MNNV2Basic", "/data/model"]
    assert command[-2:] == last


def test_a_first_process_tells_how_many_runs_fit():
    """5.57 ms: 64 runs take 0.36 s, more than min_s and less than max_s."""
    prepared = prepare("mnnv2basic_3_0")
    assert prepared.command(workload(None))[2] == "64"
    slow = Completed(0, "Run 3 time:\nAvg= 900.000000 ms, min= 890.000000 ms, max= 999.000000 ms\n", "")
    prepared.parse(slow, workload(None))
    assert prepared.command(workload(None))[2] == "4"  # 3.75 s


def test_it_is_registered():
    assert find_runner("MNNV2Basic").formats == ("mnn",)
