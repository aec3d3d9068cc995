import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.groups.atoms import Atoms

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(pairs=PAIRS, pins=st.lists(st.integers(0, 19), max_size=4), split=st.integers(0, 30))
def test_classes_are_those_of_a_walk_from_each_atom(pairs: list[tuple[int, int]], pins: list[int], split: int) -> None:
    atoms = Atoms()
    atoms.roots(atoms.new(12))
    atoms.new(8)
    # Asking in between must not change what comes out.
    for part in (pairs[:split], pairs[split:]):
        for left, right in part:
            atoms.unify(np.array([left]), np.array([right]))
        atoms.roots(np.arange(20))
    for number, pin in enumerate(pins):
        atoms.pin(np.array([pin]), f"reason {number}")
    roots = atoms.roots(np.arange(20))
    reasons, sentences = atoms.reasons()
    for atom in range(20):
        together = _reachable(atom, pairs)
        assert roots[atom] == min(together)
        told = [number for number, pin in enumerate(pins) if pin in together]
        index = reasons[roots[atom]]
        assert (sentences[index] if index >= 0 else None) == (f"reason {told[0]}" if told else None)
        assert atoms.pinned_roots()[roots[atom]] == bool(told)


def _reachable(atom: int, pairs: list[tuple[int, int]]) -> set[int]:
    found = {atom}
    while more := {b for pair in pairs for a, b in (pair, pair[::-1]) if a in found and b not in found}:
        found |= more
    return found


def test_shapes_broadcast() -> None:
    atoms = Atoms()
    grid, line = atoms.new(6).reshape(2, 3), atoms.new(3)
    atoms.unify(grid, line)
    assert atoms.roots(grid).tolist() == [[0, 1, 2], [0, 1, 2]] and atoms.roots(line).tolist() == [0, 1, 2]
