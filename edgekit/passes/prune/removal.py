"""Take channels out of a graph: physically, or, to prove that this is right, by zeros."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.prune.groups import ChannelGroups

Removed = NDArray[np.bool_]
"""[unit_count]: True for the units that go."""


def remove(model: ir.Model, groups: ChannelGroups, removed: Removed) -> ir.Model:
    """A new model without the removed units: smaller weights, shapes, Split sizes, Reshape targets, conv groups.

    Inputs and outputs of the model keep their shapes; names of nodes and weights stay. Values get their new shapes.
    """
    raise NotImplementedError


def zero(model: ir.Model, groups: ChannelGroups, removed: Removed) -> ir.Model:
    """A new model of the same shapes in which every constant is 0 at the removed units.

    Computes the same as ``remove`` within float rounding: that is the test of the grouping.
    """
    raise NotImplementedError
