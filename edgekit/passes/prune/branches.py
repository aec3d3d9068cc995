"""Residual branches, which can be removed as a whole: the sum becomes its other term."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from edgekit.passes.prune.groups import ChannelGroups


@dataclass(frozen=True, slots=True)
class Branch:
    """One term of the Add node ``add``: what would be computed for nothing when the Add gave its other term.

    ``name`` is that of the branch's last node. ``nodes`` are the names of the nodes that only serve it. ``last`` is the
    node with a weight whose output the Add reads, and ``weights`` its constants: all zero, the branch is exactly zero.
    ``groups`` are the channel groups that live only inside.
    """

    name: str
    add: str
    nodes: frozenset[str]
    last: str
    weights: tuple[str, ...]
    groups: frozenset[str]


def find_branches(model: ir.Model, groups: ChannelGroups) -> tuple[Branch, ...]:
    """The branches of a graph with static shapes whose removal saves multiply-accumulates, in the graph's order."""
    raise NotImplementedError


def drop_branches(model: ir.Model, branches: Collection[Branch]) -> ir.Model:
    """A new model without the branches; their groups' units no longer occur in it."""
    raise NotImplementedError
