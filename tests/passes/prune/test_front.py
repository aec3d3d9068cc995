import weakref
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.passes.prune.collecting import Collector, collect
from edgekit.passes.prune.front import Front, Space
from edgekit.passes.prune.network import Array, Sample, activations, with_weights
from tests.passes.prune.test_refit import without
from tests.passes.quantize.networks import images, mobile_network


def place_of(model: ir.Model, name: str) -> int:
    return next(index for index, node in enumerate(model.graph) if node.name == name)


class Counted(Sequence[Sample]):
    """Samples that remember how often they were read."""

    def __init__(self, count: int) -> None:
        self.samples = images(count)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        self.reads += 1
        return iter(self.samples)


def check(front: Front, model: ir.Model, weights: dict[str, Array], samples: Sequence[Sample]) -> None:
    names = ["depthwise6", "stem6", "logits"]
    expected = list(activations(with_weights(model, weights), names, samples))
    found = list(front.read(names, weights))
    assert len(found) == len(expected) == len(samples)
    for left, right in zip(found, expected, strict=True):
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(left, right, strict=True))


def test_what_is_read_behind_the_front_is_the_same_and_runs_no_sample_again() -> None:
    model, samples = mobile_network(), Counted(5)
    front, weights = Front(model, samples), without(model, "project_w", 0, 1, 2)
    for name in ("stem_node", "depthwise_node", "depthwise6_node"):
        front.move(place_of(model, name), weights)
        assert front.place == place_of(model, name)
        check(front, model, weights, samples.samples)
    # Once by the check at the inputs, once by the move away from them.
    assert samples.reads == 2
    later = without(model, "project_w", 3, 4, 5)
    check(front, model, later, samples.samples)
    assert samples.reads == 2


def test_another_weight_before_the_front_starts_again() -> None:
    model, samples = mobile_network(), Counted(4)
    front = Front(model, samples)
    front.move(place_of(model, "depthwise6_node"), {})
    changed = without(model, "expand_w", 0, 1, 2)
    front.move(place_of(model, "depthwise6_node"), changed)
    check(front, model, changed, samples.samples)
    assert samples.reads == 2
    front.move(place_of(model, "depthwise6_node"), {"expand_w": changed["expand_w"].copy()})
    assert samples.reads == 2
    front.move(place_of(model, "depthwise_node"), changed)
    assert front.place == place_of(model, "depthwise_node") and samples.reads == 3
    check(front, model, changed, samples.samples)


@pytest.mark.parametrize("known", [True, False])
def test_what_is_too_large_or_unknown_is_not_kept(known: bool) -> None:
    model, samples = mobile_network(), images(4)
    # Before the depthwise convolution 16 channels and the stream of 8 cross: 4 samples of 24 * 64 floats.
    place = place_of(model, "depthwise_node")
    for most_bytes, kept in ((4 * 24 * 64 * 4 - 1, 0), (4 * 24 * 64 * 4, place if known else 0)):
        front = Front(model, samples if known else Endless(samples), Space(most_bytes))
        front.move(place, {})
        assert front.place == kept
        check(front, model, {}, samples)


class Endless:
    """Samples whose number nobody knows."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)


def test_fronts_share_what_they_may_keep() -> None:
    model, samples = mobile_network(), images(4)
    place, size = place_of(model, "depthwise_node"), 4 * 24 * 64 * 4
    space = Space(2 * size - 1)
    first, second = Front(model, samples, space), Front(model, samples, space)
    first.move(place, {})
    second.move(place, {})
    assert (first.place, second.place, space.free) == (place, 0, size - 1)
    # A weight before the place: what was kept is given back.
    first.move(place_of(model, "stem_node"), without(model, "stem_w", 0))
    second.move(place, {})
    assert second.place == place
    check(first, model, {}, samples)
    check(second, model, {}, samples)


def test_a_move_lets_go_of_what_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = mobile_network(), images(12)
    front = Front(model, samples)
    front.move(place_of(model, "depthwise_node"), {})
    alive: list[int] = []

    def watched(model: ir.Model, names: Sequence[str], kept: Iterable[Sample]) -> Iterator[list[Array]]:
        left: list[weakref.ref[Array]] = []

        def seen() -> Iterator[Sample]:
            for sample in kept:
                left.extend(weakref.ref(array) for array in sample.values())
                yield sample

        for arrays in activations(model, names, seen()):
            alive.append(sum(each() is not None for each in left))
            yield arrays

    monkeypatch.setattr("edgekit.passes.prune.front.activations", watched)
    front.move(place_of(model, "depthwise6_node"), {})
    assert len(alive) == len(samples) and max(alive) <= 2 * 6
    check(front, model, {}, samples)


def test_a_collector_gives_what_single_steps_give() -> None:
    model, samples = mobile_network(), images(6)
    weights = without(model, "expand_w", 0, 1)
    collector = Collector(model, samples)
    for node in ("expand_node", "project_node", "logits_node"):
        step = collector.collect(weights, [node], targets=True)[node]
        alone = collect(model, weights, [node], samples, targets=True)[node]
        assert step.cross is not None and alone.cross is not None
        assert np.allclose(step.gram, alone.gram, rtol=1e-4, atol=1e-3)
        assert np.allclose(step.cross, alone.cross, rtol=1e-4, atol=1e-2)
        weights |= without(model, f"{node.removesuffix('_node')}_w", 3)
    back = collector.collect(weights, ["expand_node"])["expand_node"]
    assert np.allclose(back.gram, collect(model, weights, ["expand_node"], samples)["expand_node"].gram, rtol=1e-4)
