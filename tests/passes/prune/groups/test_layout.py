import numpy as np
import pytest

from edgekit.passes.prune.groups import find_channel_groups
from tests.passes.prune.groups.graphs import find, ints, labels, reasons, told
from tests.passes.prune.networks import Builder

CONV = {"w": (8, 3, 1, 1)}


def test_flatten_gives_a_channel_all_its_pixels() -> None:
    groups = find(
        "(float[1,3,2,3] x) => (float[1,2] y) { a = Conv(x, w) f = Flatten(a) y = Gemm(f, v) }", **CONV, v=(48, 2)
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}
    assert labels(groups, "v", 0) == [i // 6 for i in range(48)]


def test_reshape_with_zero_and_minus_one_after_a_transpose() -> None:
    groups = find(
        """(float[1,3,2,3] x) => (float[1,2] y) {
            a = Conv(x, w) t = Transpose <perm = [0, 2, 3, 1]> (a) f = Reshape(t, s) y = Gemm(f, v) }""",
        **CONV,
        s=ints(0, -1),
        v=(48, 2),
    )
    assert labels(groups, "v", 0) == list(range(8)) * 6


def test_squeeze_and_unsqueeze() -> None:
    groups = find(
        """(float[1,3,2,3] x) => (float[1,2,1,1] y) {
            a = Conv(x, w) p = GlobalMaxPool(a) s = Squeeze(p, last) u = Unsqueeze(s, last) y = Conv(u, v) }""",
        **CONV,
        last=ints(2, 3),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}


def test_channel_shuffle_loses_the_same_channels_in_each_block() -> None:
    network = Builder(1, 3, 6, 6)
    model = network.model(network.head(network.shuffle(network.relu(network.conv("x", 12)), 3)))
    (group,) = find_channel_groups(model).groups
    assert (group.channels, len(group.units)) == (12, 4)


def test_a_split_axis_that_stays_split_becomes_rectangular() -> None:
    groups = find(
        """(float[1,3,2,2] x) => (float[1,2,2,2] y) {
            a = Conv(x, w) s = Reshape(a, apart) r = Relu(s) t = Reshape(r, whole) y = Conv(t, v) }""",
        **CONV,
        apart=ints(1, 2, 4, 2, 2),
        whole=ints(1, 8, 2, 2),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 4, ["a"], ["y"])}
    assert labels(groups, "s", 2) == [0, 1, 2, 3] and ("s", 1) not in groups.axes


def test_a_norm_over_each_group_makes_groups_units() -> None:
    groups = find(
        """(float[1,3,2,2] x) => (float[1,2,2,2] y) {
            a = Conv(x, w) s = Reshape(a, apart) m = ReduceMean <keepdims = 1> (s, inner) d = Sub(s, m)
            t = Reshape(d, whole) g = Mul(t, c) y = Conv(g, v) }""",
        **CONV,
        apart=ints(1, 4, 8),
        inner=ints(2),
        whole=ints(1, 8, 2, 2),
        c=(1, 8, 1, 1),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 4, ["a"], ["y"])}
    assert labels(groups, "c", 1) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_pixel_shuffle_takes_four_channels_at_once(mode: str) -> None:
    groups = find(
        f"""(float[1,3,2,2] x) => (float[1,2,4,4] y) {{
            a = Conv(x, w) d = DepthToSpace <blocksize = 2, mode = "{mode}"> (a) y = Conv(d, v) }}""",
        w=(12, 3, 1, 1),
        v=(2, 3, 1, 1),
    )
    assert told(groups) == {"a": (12, 3, ["a"], ["y"])}
    assert labels(groups, "a", 1) == ([0, 1, 2] * 4 if mode == "DCR" else [i // 4 for i in range(12)])


def test_pixel_shuffle_written_out() -> None:
    groups = find(
        """(float[1,3,2,5] x) => (float[1,2,4,10] y) {
            a = Conv(x, w) s = Reshape(a, apart) t = Transpose <perm = [0, 1, 4, 2, 5, 3]> (s) d = Reshape(t, whole)
            y = Conv(d, v) }""",
        w=(12, 3, 1, 1),
        apart=ints(1, 3, 2, 2, 2, 5),
        whole=ints(1, 3, 4, 10),
        v=(2, 3, 1, 1),
    )
    assert told(groups) == {"a": (12, 3, ["a"], ["y"])}


def test_space_to_depth_repeats_channels() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,2,2] y) {
            a = Conv(x, w) d = SpaceToDepth <blocksize = 2> (a) y = Conv(d, v) }""",
        **CONV,
        v=(2, 32, 1, 1),
    )
    assert labels(groups, "d", 1) == list(range(8)) * 4


def test_space_to_depth_written_out() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,2,2] y) {
            a = Conv(x, w) s = Reshape(a, apart) t = Transpose <perm = [0, 1, 3, 5, 2, 4]> (s) d = Reshape(t, whole)
            y = Conv(d, v) }""",
        **CONV,
        apart=ints(1, 8, 2, 2, 2, 2),
        whole=ints(1, 32, 2, 2),
        v=(2, 32, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}
    assert labels(groups, "d", 1) == [i // 4 for i in range(32)]


def test_expand_and_tile() -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) p = GlobalAveragePool(a) e = Expand(p, size) t = Tile(e, twice) y = Conv(t, v) }""",
        **CONV,
        size=ints(1, 1, 4, 4),
        twice=ints(1, 2, 1, 1),
        v=(2, 16, 1, 1),
    )
    assert labels(groups, "v", 1) == list(range(8)) * 2


def test_two_axes_of_channels_that_are_merged_keep_one_whole() -> None:
    groups = find(
        """(float[1,4,3] x) => (float[1,2] y) {
            a = MatMul(x, w) m = MatMul(u, a) f = Flatten(m) y = MatMul(f, v) }""",
        w=(3, 6),
        u=(5, 4),
        v=(30, 2),
    )
    assert len(groups.groups) == 1
    assert "Reshape 'f' merges two axes that both have channels" in reasons(groups).values()


def test_windows_of_tokens_keep_channels_apart() -> None:
    groups = find(
        """(float[1,4,4,3] x) => (float[4,4,2] y) {
            a = MatMul(x, w) s = Reshape(a, apart) t = Transpose <perm = [0, 1, 3, 2, 4, 5]> (s) d = Reshape(t, windows)
            y = MatMul(d, v) }""",
        w=(3, 6),
        apart=ints(1, 2, 2, 2, 2, 6),
        windows=ints(4, 4, 6),
        v=(6, 2),
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}


def test_several_samples_take_in_heads() -> None:
    groups = find(
        """(float[2,5,3] x) => (float[2,5,2] y) {
            a = MatMul(x, w) s = Reshape(a, heads) t = Transpose <perm = [0, 2, 1, 3]> (s) q = Reshape(t, merged)
            k = Transpose <perm = [0, 2, 1]> (q) m = MatMul(q, k) p = Softmax(m) o = MatMul(p, q)
            u = Reshape(o, apart) z = Transpose <perm = [0, 2, 1, 3]> (u) f = Reshape(z, whole) y = MatMul(f, v) }""",
        w=(3, 12),
        heads=ints(2, 5, 4, 3),
        merged=ints(8, 5, 3),
        apart=ints(2, 4, 5, 3),
        whole=ints(2, 5, 12),
        v=(12, 2),
    )
    assert told(groups) == {"a": (12, 4, ["a"], ["y"])}
    assert labels(groups, "q", 0) == [0, 1, 2, 3] * 2


def test_a_group_norm_as_keras_writes_it() -> None:
    groups = find(
        """(float[1,3,2,2] x) => (float[1,2,2,2] y) {
            a = Conv(x, w) s = Reshape(a, apart) m = ReduceMean <keepdims = 1> (s, inner) d = Sub(s, m)
            q = Mul(d, d) v = ReduceMean <keepdims = 1> (q, inner) e = Add(v, epsilon) r = Sqrt(e) i = Reciprocal(r)
            g = Mul(i, gamma) n = Mul(s, g) f = Mul(m, g) o = Sub(beta, f) h = Add(n, o)
            t = Reshape(h, whole) y = Conv(t, u) }""",
        **CONV,
        apart=ints(1, 4, 2, 2, 2),
        inner=ints(2, 3, 4),
        epsilon=np.float32(1e-3),
        gamma=(1, 4, 2, 1, 1),
        beta=(1, 4, 2, 1, 1),
        whole=ints(1, 8, 2, 2),
        u=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 4, ["a"], ["y"])}
    assert labels(groups, "gamma", 1) == [0, 1, 2, 3]


def test_squeeze_without_axes_keeps_an_axis_that_only_now_has_length_one() -> None:
    groups = find(
        """(float[1,3,2,3] x) => (float[4] y) {
            a = Conv(x, w) p = GlobalMaxPool(a) s = Squeeze(p) y = MatMul(s, v) }""",
        w=(2, 3, 1, 1),
        v=(2, 4),
    )
    assert told(groups) == {"a": (2, 2, ["a"], ["y"])}
