"""What every stage may say of a model's inputs and outputs, and the words of the command line."""

from dataclasses import dataclass
from enum import StrEnum


class Precision(StrEnum):
    """How a target's artifacts store and compute; the value is what the command line and the manifest say."""

    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_WEIGHTS = "int8-weights"
    FP16 = "fp16"
    FP32 = "fp32"


class PrecisionChoice(StrEnum):
    """What a user may ask for: a Precision, or what the target's profile says."""

    AUTO = "auto"
    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_WEIGHTS = "int8-weights"
    FP16 = "fp16"
    FP32 = "fp32"


class Layout(StrEnum):
    """The layout of an artifact's image inputs and outputs: the source model's own, or channels last."""

    KEEP = "keep"
    NHWC = "nhwc"


class IoType(StrEnum):
    """What an application feeds to an int8 artifact: float32 (the same as the source model) or the int8 codes."""

    FLOAT = "float"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model or of an artifact.

    ``shape`` is the artifact's own. ``permutation`` says how it was made from the source model's:
    ``artifact = source.transpose(permutation)``; None when nothing moved. ``scale`` and ``zero_point`` are given when
    the tensor carries integer codes: ``real = (code - zero_point) * scale``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None
    permutation: tuple[int, ...] | None = None
