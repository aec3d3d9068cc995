"""The time that a model takes to load has nothing of the time that its runtime takes to load."""

import argparse
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from edgekit.benchmarking.runner import runner
from tests.benchmarking.runner.programs import library, native, run

SECOND = 1_000_000_000


@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_the_library_of_the_c_program_is_not_counted(format_name, models, tmp_path):
    program = native()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    # A library that takes longer to load than any toy, and has the runtime's functions.
    source, slow = tmp_path / "slow.c", tmp_path / "libslow.so"
    source.write_text("#include <unistd.h>\n__attribute__((constructor)) static void wait(void) { usleep(2000000); }\n")
    real = Path(library(models[format_name]))
    # The name that is asked for at run time is another one than the file's.
    (tmp_path / f"{real.name.partition('.so')[0]}.so.1").symlink_to(real)
    linking = ("-Wl,--no-as-needed", real, f"-Wl,-rpath,{tmp_path}:{real.parent}")
    command = [compiler, "-shared", "-fPIC", source, "-o", slow, *linking]
    subprocess.run(command, check=True)
    ended = run(program, models[format_name], tmp_path, library=str(slow))
    assert ended.exit_code == 0, ended.stderr
    assert 0 < ended.result["load_us"] < 2_000_000


def test_the_import_of_the_python_program_is_not_counted(monkeypatch, capsys):
    clock = [0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: clock[0])

    class Slow(runner.Engine):
        @staticmethod
        def import_runtime():
            clock[0] += 5 * SECOND
            return "module"

        def __init__(self, module, options):
            assert module == "module"
            clock[0] += 2 * SECOND

        def delegation(self):
            raise AssertionError("not a part of loading")

    monkeypatch.setitem(runner.RUNTIMES, "slow", Slow)
    _, load_us = runner.load(argparse.Namespace(runtime="slow"))
    assert load_us == 2_000_000
    # A crash from here on is blamed on the model.
    assert capsys.readouterr().err == "edgekit-runner: stage: loading\n"


def test_a_runtime_that_refuses_late_is_told_in_one_line(monkeypatch):
    class Refusing(runner.Engine):
        def __init__(self, module, options):
            raise ValueError("no room for the tensors")

        @staticmethod
        def import_runtime():
            return "module"

    monkeypatch.setitem(runner.RUNTIMES, "litert", Refusing)
    with pytest.raises(runner.Failure, match=r"^litert: no room for the tensors$") as caught:
        runner.measure(argparse.Namespace(runtime="litert"))
    assert caught.value.code == runner.MODEL_REFUSED
