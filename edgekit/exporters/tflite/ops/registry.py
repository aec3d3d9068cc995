"""The table from ONNX operators to the functions that lower them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from edgekit.exporters.tflite.lowering import Lowering

Handler = Callable[["Lowering", ir.Node], None]
Condition = Callable[["Lowering", ir.Node], bool]


class Wants(Enum):
    """What an operator wants of its first input's layout; it decides how ``Layout.NHWC`` lays out the file's inputs."""

    CHANNELS_LAST = auto()
    ANY = auto()
    SOURCE = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """How to lower one operator.

    ``int8`` says whether int8 kernels can do the node when its inputs and outputs are quantized; otherwise it runs in
    float between DEQUANTIZE and QUANTIZE. ``fuses`` says that the node's last operator can do a following activation.
    """

    handler: Handler
    int8: Condition
    fuses: bool
    wants: Wants


RULES: dict[str, Rule] = {}


def always(lowering: "Lowering", node: ir.Node) -> bool:
    """Every form of the operator has an int8 kernel."""
    return True


def never(lowering: "Lowering", node: ir.Node) -> bool:
    """No form of the operator has an int8 kernel."""
    return False


def lowers(
    *op_types: str, int8: Condition = never, fuses: bool = False, wants: Wants = Wants.SOURCE
) -> Callable[[Handler], Handler]:
    """Register the decorated function as the lowering of ``op_types``."""

    def register(handler: Handler) -> Handler:
        for op_type in op_types:
            RULES[op_type] = Rule(handler, int8, fuses, wants)
        return handler

    return register
