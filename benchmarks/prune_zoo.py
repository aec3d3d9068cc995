"""Channel groups of every keras.applications architecture and every light_* network of the onnx package.

    python benchmarks/prune_zoo.py [--models MobileNetV2 light_squeezenet ...]

Units are removed at random until a fifth of the multiply-accumulates is gone. "error" is the largest difference between
the smaller network and the whole one with zeros in the same places, relative to the largest output: float rounding when
the groups are right. "change" is how far the zeros move the outputs: that it is large shows that the test could fail.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import measurement
import onnx

ROOT = measurement.ROOT
COLUMNS = [
    "model",
    "nodes",
    "groups",
    "branches",
    "whole",
    "MACs removed",
    "error",
    "change",
    "costs as foretold",
    "seconds",
]


def main() -> None:
    """One row per network, each measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="default: all")
    rows = [_row(name) for name in parser.parse_args().models or [*_light(), *_keras_applications()]]
    measurement.print_table("20 % of the MACs removed at random: removed against zeroed", COLUMNS, rows)


def _light() -> list[str]:
    return sorted(path.stem for path in Path(onnx.__file__).parent.glob("backend/test/data/light/*.onnx"))


def _keras_applications() -> list[str]:
    """All that build a network; asked in another process, so that TensorFlow's memory is not kept here."""
    code = "import keras; print(*[name for name in dir(keras.applications) if name[0].isupper()])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def _row(name: str) -> list[object]:
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.passes.prune.zoo", name]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(name, "done" if process.returncode == 0 else process.stderr, file=sys.stderr)
    if process.returncode:
        return [name, *["failed"] * (len(COLUMNS) - 1)]
    found = json.loads(process.stdout.splitlines()[-1])
    return [
        *(name, found["nodes"], found["groups"], found["branches"], found["whole"]),
        *(f"{100 * found['macs_removed']:.1f} %", f"{found['error']:.1e}", f"{found['change']:.1e}"),
        *("yes" if found["costs_agree"] else "NO", f"{time.monotonic() - start:.0f}"),
    ]


if __name__ == "__main__":
    main()
