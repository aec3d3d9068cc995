"""Run a float graph, or what follows some of its values, with other weights than its own.

Weights are replaced at their full shape: a removed channel is one whose consumers multiply it by zero. So moments,
prices and re-fits never need the smaller graph; it is built once, at the end.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[np.float32]
Sample = Mapping[str, NDArray[Any]]
Weights = Mapping[str, Array]
"""By initializer name."""


def with_weights(model: ir.Model, weights: Weights) -> ir.Model:
    """A clone whose initializers are replaced; the arrays are not copied."""
    raise NotImplementedError


def activations(model: ir.Model, names: Sequence[str], samples: Iterable[Sample]) -> Iterator[list[NDArray[Any]]]:
    """The arrays of the values ``names``, sample by sample in order; only what they need is computed.

    Runs on two threads, one sample each, so numbers do not depend on the machine's load. The arrays stay valid only
    until the next one is asked for.
    """
    raise NotImplementedError


class Suffix:
    """What follows some nodes: from the values that enter it to the model's outputs, with ``weights`` given per run.

    ``nodes``: names of the first nodes (all that reads a group's channels). ``entering``: the values to feed, computed
    by the rest of the graph (the model's own inputs may be among them).
    """

    def __init__(self, model: ir.Model, nodes: Sequence[str], weights: Sequence[str]) -> None:
        raise NotImplementedError

    @property
    def entering(self) -> tuple[str, ...]:
        """Names of the values that enter."""
        raise NotImplementedError

    def run(self, values: Mapping[str, NDArray[Any]], weights: Weights) -> list[NDArray[Any]]:
        """The model's outputs. Several threads may run at once."""
        raise NotImplementedError
