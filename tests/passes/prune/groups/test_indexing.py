from typing import Any

import numpy as np
import pytest

from edgekit.passes.prune.groups import find_channel_groups
from tests.passes.prune.groups.graphs import find, graph, ints, labels, reasons, told

CONV: dict[str, Any] = {"w": (8, 3, 1, 1)}


def test_concat_puts_channels_side_by_side() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) b = Conv(a, v) c = Concat <axis = 1> (a, b, x) y = Conv(c, u) }""",
        **CONV,
        v=(4, 8, 1, 1),
        u=(2, 15, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["b", "y"]), "b": (4, 4, ["b"], ["y"])}
    assert labels(groups, "u", 1) == [*range(12), -1, -1, -1]


def test_concat_along_pixels_ties_channels() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,8,4] y) {
            a = Conv(x, w) b = Conv(x, v) c = Concat <axis = 2> (a, b) y = Conv(c, u) }""",
        **CONV,
        v=(8, 3, 1, 1),
        u=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a", "b"], ["y"])}


def test_a_class_token_follows_the_channels() -> None:
    groups = find(
        """(float[1,4,3] x) => (float[1,5,2] y) {
            a = MatMul(x, w) c = Concat <axis = 1> (token, a) p = Add(c, place) y = MatMul(p, v) }""",
        w=(3, 6),
        token=(1, 1, 6),
        place=(1, 5, 6),
        v=(6, 2),
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}
    assert labels(groups, "token", 2) == labels(groups, "place", 2) == list(range(6))


def test_constant_channels_go_with_what_they_are_added_to() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) b = Conv(x, v) c = Concat <axis = 1> (b, extra) s = Add(a, c) y = Conv(s, u) }""",
        **CONV,
        v=(6, 3, 1, 1),
        extra=(1, 2, 4, 4),
        u=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (6, 6, ["a", "b"], ["y"]), "a#2": (2, 2, ["a"], ["y"])}
    assert labels(groups, "extra", 1) == [0, 1]


def test_split_makes_a_group_of_each_part() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) p, q = Split <axis = 1> (a, sizes) b = Conv(p, v) c = Concat <axis = 1> (b, q)
            y = Conv(c, u) }""",
        **CONV,
        sizes=ints(3, 5),
        v=(4, 3, 1, 1),
        u=(2, 9, 1, 1),
    )
    assert told(groups) == {"a": (3, 3, ["a"], ["b"]), "a#2": (5, 5, ["a"], ["y"]), "b": (4, 4, ["b"], ["y"])}
    assert groups.of("a").units == tuple(groups.axes["w", 0][:3])


def test_a_single_channel_taken_out_stays() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) p, q = Split <axis = 1> (a, sizes) b = Conv(q, v) y = Add(b, p) }""",
        **CONV,
        sizes=ints(1, 7),
        v=(2, 7, 1, 1),
    )
    assert told(groups) == {"a": (7, 7, ["a"], ["b"])}
    assert reasons(groups)["a"] == "Split 'p' takes this channel alone"


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (2, 7, 1, [2, 3, 4, 5, 6]),
        (-1, -(2**63), -1, [7, 6, 5, 4, 3, 2, 1, 0]),
        (0, 2**31, 2, [0, 2, 4, 6]),
        (-2, 0, -3, [6, 3]),
    ],
)
def test_slices(start: int, end: int, step: int, expected: list[int]) -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) s = Slice(a, start, end, axis, step) b = Conv(s, v) c = Conv(a, u) y = Add(b, c) }""",
        **CONV,
        start=ints(start),
        end=ints(end),
        axis=ints(-3),
        step=ints(step),
        v=(2, len(expected), 1, 1),
        u=(2, 8, 1, 1),
    )
    assert [groups.axes["w", 0][i] for i in expected] == list(groups.axes["v", 1])
    assert (groups.axes["w", 0] >= 0).all()


def test_a_computed_slice_keeps_everything() -> None:
    groups = find_channel_groups(
        graph(
            """(float[1,3,4,4] x, int64[1] start) => (float[1,n,4,4] s, float[1,2,4,4] y) {
                a = Conv(x, w) s = Slice(a, start, end, axis) y = Conv(a, u) }""",
            **CONV,
            end=ints(8),
            axis=ints(1),
            u=(2, 8, 1, 1),
        )
    )
    assert told(groups) == {}
    assert reasons(groups)["a"] == "Slice 's' reads it, and channels are not followed through Slice"


def test_gather_chooses_channels_also_twice() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) s = Gather <axis = 1> (a, indices) y = Conv(s, v) }""",
        **CONV,
        indices=ints(7, 1, 1, -5, 2),
        v=(2, 5, 1, 1),
    )
    assert [int(unit) for unit in groups.axes["v", 1]] == [int(groups.axes["w", 0][i]) for i in (7, 1, 1, 3, 2)]
    # Channels that are taken never, once or twice are three groups: each loses the same wherever it is.
    assert sorted(group.channels for group in groups.groups) == [3, 4]
    assert reasons(groups)["a"] == "all of its channels could only be removed together"


def test_a_scalar_index_keeps_its_channel() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) s = Gather <axis = 1> (a, third) u = Unsqueeze(s, one) b = Conv(a, v) y = Add(u, b) }""",
        **CONV,
        third=np.array(2),
        one=ints(1),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (7, 7, ["a"], ["b"])}
    assert reasons(groups)["a"] == "Gather 's' takes this channel alone"


def test_an_embedding_makes_channels() -> None:
    groups = find(
        """(float[1,4] x) => (float[1,4,2] y) {
            z = Mul(x, none) i = Cast <to = 7> (z) e = Gather(table, i) y = MatMul(e, v) }""",
        none=np.float32(0),
        table=(9, 6),
        v=(6, 2),
    )
    assert told(groups) == {"e": (6, 6, ["e"], ["y"])}
    assert groups.of("e").producers[0].axis == 1


@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 0, 0, 1, 0), (0, -2, 0, 0, 0, -1, 0, 0)])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_pads(pads: tuple[int, ...], value: float) -> None:
    channels = 8 + pads[1] + pads[5]
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) p = Pad(a, pads, value) q = GlobalAveragePool(p) b = Conv(q, v) c = Conv(a, u)
            y = Add(b, c) }""",
        **CONV,
        pads=ints(*pads),
        value=np.float32(value),
        v=(2, channels, 1, 1),
        u=(2, 8, 1, 1),
    )
    expected = list(groups.axes["w", 0])[-pads[1] if pads[1] < 0 else 0 : 8 + min(pads[5], 0)]
    assert list(groups.axes["v", 1]) == expected


def test_a_shortcut_padded_with_channels() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) p = Pad(a, pads) b = Conv(a, v) s = Add(p, b) y = Conv(s, u) }""",
        **CONV,
        pads=ints(0, 0, 0, 0, 0, 4, 0, 0),
        v=(12, 8, 1, 1),
        u=(2, 12, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a", "b"], ["b", "y"]), "b": (4, 4, ["b"], ["y"])}


def test_reflected_channels_stay() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) p = Pad <mode = "reflect"> (a, pads) y = Conv(p, v) }""",
        **CONV,
        pads=ints(0, 1, 0, 0, 0, 0, 0, 0),
        v=(2, 9, 1, 1),
    )
    assert told(groups) == {} and reasons(groups)["a"] == "Pad 'p' pads it with its own channels"


def test_resize_of_pixels_and_of_channels() -> None:
    text = """(float[1,3,4,4] x) => (float[1,2,8,8] y) {{
        a = Conv(x, w) r = Resize <mode = "linear"> (a, , , sizes) {} }}"""
    groups = find(text.format("y = Conv(r, v)"), **CONV, sizes=ints(1, 8, 8, 8), v=(2, 8, 1, 1))
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}
    model = graph(text.format("y = Conv(r, v)"), **CONV, sizes=ints(1, 4, 8, 8), v=(2, 4, 1, 1))
    groups = find_channel_groups(model)
    assert told(groups) == {} and reasons(groups)["a"] == "Resize 'r' interpolates over it"


def test_pools_and_the_indices_of_a_pool() -> None:
    text = """(float[1,3,4,4] x) => (float[1,2,2,2] y{}) {{
        a = Conv(x, w) p, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a) y = Conv(p, v) }}"""
    assert told(find(text.format("").replace("p, i", "p"), **CONV, v=(2, 8, 1, 1))) == {"a": (8, 8, ["a"], ["y"])}
    groups = find(text.format(", int64[1,8,2,2] i"), **CONV, v=(2, 8, 1, 1))
    assert told(groups) == {} and reasons(groups)["a"] == "the indices of MaxPool 'p' count its channels"
