"""How far an emulated run may be from this machine's, by runtime, precision and CPU. The figures are all here.

Integers: one step. LiteRT has no difference at all in what was measured (ResNet-8, DS-CNN, EfficientNet-Lite1, the
demo; ARM against x86). The kernels of the others round values in the middle between two codes differently on ARM and on
x86, by one step, and layers add that up. onnxruntime: QLinearAdd of the demo's input scaling, in 23 % of its values; 20
layers further the logits differ by up to 2 steps, RMS 1.0; none to one in the other networks. MNN: 20 of 1.4 million
codes of EfficientNet-Lite1's sixth layer, and 50 layers further up to 4 steps, RMS 0.86; all x86 CPUs agree to the bit,
and so do the ARM CPUs. So these two have a second limit, ``ADDED``; what it lets through is told, and must be as near
to the source model as the run on this machine.

Floats: 1e-4 of the largest output (measured: 2e-6). Of fp16 artifacts only onnxruntime computes in half precision, on
CPUs that have it. Every operation then rounds to 11 bits: N independent roundings of up to 2^-11 add up to
sqrt(N) * 2^-11, of which four times is allowed (measured: half of it, in ResNet-8 and EfficientNet-Lite1).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.emulation.cpu import Cpu
from edgekit.interface import Precision
from edgekit.verification.comparison import Subject

MAX_STEPS = 1.0
MAX_RELATIVE = 1e-4
MAX_LOST_DB = 2.0
"""How much further from the source than this machine's run an artifact may be whose roundings add up.

Four samples of ten logits scatter by 1 dB: the demo is 1.1 dB nearer on some samples and 0.7 dB further on others.
"""

_HALF_ROUNDING = 2.0**-11
_DEVIATIONS = 4.0
_HALF_FEATURE = "fphp"
_INTEGER = (Precision.INT8, Precision.INT8_DYNAMIC)


@dataclass(frozen=True, slots=True)
class Added:
    """What single steps of rounding look like when they have added up: many small differences, no large one.

    ``steps`` is the largest difference and ``rms`` the RMS of all; the largest is at most ``peak`` times the RMS, as
    few values that are far off in a mass of equal ones are no rounding.
    """

    steps: float
    rms: float
    peak: float


_ADDED = Added(steps=4.0, rms=1.25, peak=7.0)
ADDED: Mapping[str, Added] = {"mnn": _ADDED, "onnx": _ADDED}
"""By format. Measured: MNN 4 steps at RMS 0.86, 3 at 0.70, 2 at 0.59, int8-dynamic 3 at 0.49; onnxruntime 2 at 1.0."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The limits of one artifact on one CPU. ``note`` says what is unusual about them, None when nothing is.

    ``integer``: outputs are judged in steps, by ``added`` when there are more than one; else by ``relative``.
    """

    integer: bool
    added: Added | None = None
    relative: float = MAX_RELATIVE
    note: str | None = None


def tolerance(subject: Subject, cpu: Cpu) -> Tolerance:
    """The limits for ``subject`` on ``cpu``."""
    if subject.precision in _INTEGER:
        return Tolerance(integer=True, added=ADDED.get(subject.format))
    if subject.precision is Precision.FP16 and subject.format == "onnx" and _HALF_FEATURE in cpu.features.split():
        count = _operations(subject.path)
        allowed = _DEVIATIONS * math.sqrt(count) * _HALF_ROUNDING
        note = f"computes in half precision: {count} roundings of 2^-11 are within {allowed:.0e}"
        return Tolerance(integer=False, relative=max(allowed, MAX_RELATIVE), note=note)
    return Tolerance(integer=False)


def _operations(path: Path) -> int:
    from edgekit.graph import storage

    return len(storage.load(path).graph)
