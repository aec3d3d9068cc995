"""Recovery as a stage: the flags in, what came of it out."""

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from edgekit.building import Builder
from edgekit.pruning.settings import RecoverySettings


def recover_network(
    student: ir.Model, teacher: ir.Model, recovery: RecoverySettings, builder: Builder
) -> tuple[ir.Model, Mapping[str, Any]]:
    """The pruned ``student`` trained to give what ``teacher`` gives, and what the manifest says of it."""
    raise NotImplementedError
