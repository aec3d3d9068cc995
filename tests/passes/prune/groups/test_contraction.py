import numpy as np

from edgekit.passes.prune.groups import find_channel_groups
from tests.passes.prune.groups.graphs import find, ints, labels, reasons, told
from tests.passes.prune.networks import Builder


def test_gemm_transposed_either_way_with_a_bias() -> None:
    groups = find(
        """(float[1,3] x) => (float[1,2] y) {
            a = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b) r = Relu(a) y = Gemm(r, v) }""",
        w=(6, 3),
        b=(1, 6),
        v=(6, 2),
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}
    assert groups.of("a").producers[0].axis == 0 and groups.of("a").consumers[0].axis == 0
    assert labels(groups, "b", 1) == list(range(6))


def test_gemm_with_transposed_input() -> None:
    groups = find(
        """(float[3,5] x) => (float[5,2] y) {
            a = Gemm <transA = 1> (x, w, b) t = Transpose(a) y = Gemm <transA = 1> (t, v) }""",
        w=(3, 6),
        b=(1,),
        v=(6, 2),
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}


def test_a_bias_that_is_computed_goes_along() -> None:
    groups = find(
        "(float[1,3] x) => (float[1,2] y) { c = MatMul(x, u) a = Gemm(x, w, c) y = MatMul(a, v) }",
        u=(3, 6),
        w=(3, 6),
        v=(6, 2),
    )
    assert told(groups) == {"c": (6, 6, ["c", "a"], ["y"])}


def test_a_number_as_bias_is_not_zeroed() -> None:
    groups = find(
        "(float[2,3] x) => (float[2,2] y) { a = Gemm(x, w, b) y = MatMul(a, v) }", w=(3, 6), b=(2, 1), v=(6, 2)
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}


def test_matmul_of_tokens_and_of_weights_on_the_left() -> None:
    groups = find(
        """(float[1,7,3] x) => (float[1,5,2] y) {
            a = MatMul(x, w) m = MatMul(u, a) r = Relu(m) n = MatMul(t, r) y = MatMul(n, v) }""",
        w=(3, 6),
        u=(9, 7),
        t=(5, 9),
        v=(6, 2),
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"]), "m": (9, 9, ["m"], ["n"])}
    assert groups.of("m").producers[0].axis == 0 and groups.of("m").consumers[0].axis == 1


def test_batched_weights_lose_the_same_channels_everywhere() -> None:
    groups = find(
        "(float[4,5,3] x) => (float[4,5,2] y) { a = MatMul(x, w) r = Relu(a) y = MatMul(r, v) }",
        w=(4, 3, 6),
        v=(4, 6, 2),
    )
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}
    assert labels(groups, "w", 2) == labels(groups, "v", 1) == list(range(6))


def test_batched_weights_follow_heads() -> None:
    groups = find(
        """(float[1,5,3] x) => (float[1,5,2] y) {
            a = MatMul(x, w) s = Reshape(a, heads) h = Transpose <perm = [0, 2, 1, 3]> (s) m = MatMul(h, u)
            t = Transpose <perm = [0, 2, 1, 3]> (m) z = Reshape(t, whole) y = MatMul(z, v) }""",
        w=(3, 8),
        u=(1, 4, 2, 3),
        v=(12, 2),
        heads=ints(1, 5, 4, 2),
        whole=ints(1, 5, 12),
    )
    assert told(groups)["a"] == (8, 4, ["a"], ["y"])
    assert labels(groups, "u", 1) == [0, 1, 2, 3]


def test_vectors() -> None:
    groups = find("(float[3] x) => (float y) { a = MatMul(x, w) r = Relu(a) y = MatMul(r, v) }", w=(3, 6), v=(6,))
    assert told(groups) == {"a": (6, 6, ["a"], ["y"])}


def test_two_activations_lose_what_is_exactly_zero_in_one() -> None:
    groups = find(
        """(float[1,5,3] x) => (float[1,5,5] y) {
            a = MatMul(x, w) s = Sigmoid(a) b = MatMul(x, v) t = Transpose <perm = [0, 2, 1]> (b) y = MatMul(s, t) }""",
        w=(3, 6),
        v=(3, 6),
    )
    assert told(groups) == {"a": (6, 6, ["a", "b"], [])}


def test_two_activations_that_are_not_zero_keep_everything() -> None:
    groups = find(
        """(float[1,5,3] x) => (float[1,5,5] y) {
            a = MatMul(x, w) s = Sigmoid(a) b = MatMul(x, v) e = Exp(b) t = Transpose <perm = [0, 2, 1]> (e)
            y = MatMul(s, t) }""",
        w=(3, 6),
        v=(3, 6),
    )
    assert told(groups) == {}
    assert set(reasons(groups).values()) == {"MatMul 'y' sums over it, and it is not exactly zero where it is removed"}


def test_a_product_with_the_models_input_keeps_everything() -> None:
    groups = find(
        "(float[1,5,3] x, float[1,6,2] z) => (float[1,5,2] y) { a = MatMul(x, w) y = MatMul(a, z) }", w=(3, 6)
    )
    assert told(groups) == {}
    assert reasons(groups) == {"a": "MatMul 'y' multiplies it with the model's input 'z'"}


def test_attention_heads_are_units() -> None:
    network = Builder(1, 5, 6)
    model = network.model(network.attention("x", heads=4, width=3))
    groups = find_channel_groups(model)
    (group,) = groups.groups
    assert (group.channels, len(group.units), group.unit_channels) == (12, 4, 3)
    assert len(group.producers) == 3 and len(group.consumers) == 1
    weight = group.consumers[0].weight
    assert labels(groups, weight, group.consumers[0].axis) == list(np.repeat(range(4), 3))


def test_attention_with_one_packed_projection() -> None:
    groups = find(
        """(float[1,5,6] x) => (float[1,5,6] y) {
            a = MatMul(x, w) b = Add(a, c) s = Reshape(b, packed) t = Transpose <perm = [2, 0, 3, 1, 4]> (s)
            q = Gather <axis = 0> (t, zero) k = Gather <axis = 0> (t, one) v = Gather <axis = 0> (t, two)
            kt = Transpose <perm = [0, 1, 3, 2]> (k) qk = MatMul(q, kt) p = Softmax(qk) o = MatMul(p, v)
            u = Transpose <perm = [0, 2, 1, 3]> (o) z = Reshape(u, whole) y = MatMul(z, m) }""",
        w=(6, 36),
        c=(36,),
        packed=ints(1, 5, 3, 4, 3),
        zero=np.array(0),
        one=np.array(1),
        two=np.array(2),
        whole=ints(0, 0, -1),
        m=(12, 6),
    )
    assert told(groups) == {"a": (36, 4, ["a"], ["y"])}
    assert labels(groups, "w", 1) == [head for _ in range(3) for head in range(4) for _ in range(3)]


def test_grouped_queries_share_keys_and_values() -> None:
    groups = find(
        """(float[1,5,6] x) => (float[1,5,6] y) {
            a = MatMul(x, w) s = Reshape(a, queries) q = Transpose <perm = [0, 2, 1, 3]> (s)
            b = MatMul(x, u) r = Reshape(b, keys) e = Expand(r, repeated) f = Reshape(e, four)
            kt = Transpose <perm = [0, 2, 3, 1]> (f) v = Transpose <perm = [0, 2, 1, 3]> (f)
            qk = MatMul(q, kt) p = Softmax(qk) o = MatMul(p, v)
            t = Transpose <perm = [0, 2, 1, 3]> (o) z = Reshape(t, whole) y = MatMul(z, m) }""",
        w=(6, 12),
        u=(6, 6),
        queries=ints(1, 5, 4, 3),
        keys=ints(1, 5, 2, 1, 3),
        repeated=ints(1, 5, 2, 2, 3),
        four=ints(1, 5, 4, 3),
        whole=ints(1, 5, 12),
        m=(12, 6),
    )
    assert told(groups) == {"a": (12, 2, ["a", "b"], ["y"])}


def test_rotary_embeddings_keep_heads_apart() -> None:
    groups = find(
        """(float[1,5,6] x) => (float[1,4,5,5] y) {
            a = MatMul(x, w) s = Reshape(a, heads) q = Transpose <perm = [0, 2, 1, 3]> (s)
            l, r = Split <axis = 3, num_outputs = 2> (q) n = Neg(r) h = Concat <axis = 3> (n, l)
            c = Mul(q, cos) d = Mul(h, sin) e = Add(c, d)
            b = MatMul(x, u) g = Reshape(b, heads) k = Transpose <perm = [0, 2, 3, 1]> (g)
            f = MatMul(e, k) p = Softmax(f) y = Identity(p) }""",
        w=(6, 16),
        u=(6, 16),
        heads=ints(1, 5, 4, 4),
        cos=(5, 4),
        sin=(5, 4),
    )
    assert told(groups) == {} and set(reasons(groups).values()) == {"'y' is an output of the model"}


def test_einsum_of_heads_as_keras_writes_it() -> None:
    groups = find(
        """(float[1,5,6] x) => (float[1,5,6] y) {
            a = Einsum <equation = "abc,cde->abde"> (x, w) q = Add(a, c)
            k = Einsum <equation = "abc,cde->abde"> (x, u) v = Einsum <equation = "abc,cde->abde"> (x, t)
            s = Einsum <equation = "aecd,abcd->acbe"> (k, q) p = Softmax(s)
            o = Einsum <equation = "acbe,aecd->abcd"> (p, v) y = Einsum <equation = "abcd,cde->abe"> (o, m) }""",
        w=(6, 4, 3),
        c=(4, 3),
        u=(6, 4, 3),
        t=(6, 4, 3),
        m=(4, 3, 6),
    )
    assert told(groups) == {"a": (4, 4, ["a", "k", "v"], ["y"])}
    assert labels(groups, "c", 0) == labels(groups, "m", 0) == [0, 1, 2, 3] and ("c", 1) not in groups.axes


def test_einsum_of_two_axes_that_nothing_ties_loses_the_longer() -> None:
    groups = find(
        """(float[1,5,6] x) => (float[1,5,2] y) {
            a = Einsum <equation = "abc,cde->abde"> (x, w) r = Relu(a)
            y = Einsum <equation = "abde,def->abf"> (r, m) }""",
        w=(6, 2, 3),
        m=(2, 3, 2),
    )
    assert told(groups) == {"a": (3, 3, ["a"], ["y"])}
    assert labels(groups, "w", 2) == [0, 1, 2] and ("w", 1) not in groups.axes


def test_other_einsums_keep_everything() -> None:
    groups = find(
        """(float[1,5,6] x) => (float[5] y) {
            a = MatMul(x, w) y = Einsum <equation = "abc,abc->b"> (a, a) z = Einsum <equation = "aab->b"> (u) }""",
        w=(6, 4),
        u=(2, 2, 3),
    )
    assert told(groups) == {"a": (4, 4, ["a"], [])}
    groups = find(
        """(float[1,5,6] x) => (float[4] y) {
            a = MatMul(x, w) y = Einsum <equation = "abc->c"> (a) }""",
        w=(6, 4),
    )
    assert reasons(groups) == {"a": "Einsum 'y' is not followed"}
