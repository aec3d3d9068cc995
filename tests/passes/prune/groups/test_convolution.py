from tests.passes.prune.groups.graphs import find, ints, labels, reasons, told


def test_channels_between_two_layers_are_a_group() -> None:
    groups = find(
        "(float[1,3,6,6] x) => (float[1,2,6,6] y) { a = Conv(x, w, b) r = Relu(a) y = Conv(r, v) }",
        w=(8, 3, 1, 1),
        b=(8,),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}
    assert labels(groups, "w", 0) == labels(groups, "b", 0) == labels(groups, "v", 1) == list(range(8))
    assert groups.groups[0].producers[0].axis == 0 and groups.groups[0].consumers[0].axis == 1
    assert reasons(groups) == {"y": "'y' is an output of the model"}
    assert ("x", 1) not in groups.axes and ("y", 1) not in groups.axes


def test_a_depthwise_convolution_follows_its_input_and_is_neither_producer_nor_consumer() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) d = Conv <group = 4, pads = [1, 1, 1, 1]> (a, k, b) y = Conv(d, v) }""",
        w=(4, 3, 1, 1),
        k=(4, 1, 3, 3),
        b=(4,),
        v=(2, 4, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a"], ["y"])}
    assert labels(groups, "k", 0) == [0, 1, 2, 3] and ("k", 1) not in groups.axes


def test_a_channel_multiplier_makes_its_outputs_one_unit() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) d = Conv <group = 4> (a, k) y = Conv(d, v) }""",
        w=(4, 3, 1, 1),
        k=(8, 1, 1, 1),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a"], ["y"])}
    assert labels(groups, "d", 1) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_depthwise_convolution_of_the_models_input_stays() -> None:
    groups = find(
        "(float[1,3,6,6] x) => (float[1,2,6,6] y) { d = Conv <group = 3> (x, k) y = Conv(d, v) }",
        k=(6, 1, 1, 1),
        v=(2, 6, 1, 1),
    )
    assert told(groups) == {}


def test_few_blocks_lose_the_same_channels_in_each() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) g = Conv <group = 2> (a, k, b) y = Conv(g, v) }""",
        w=(8, 3, 1, 1),
        k=(6, 4, 1, 1),
        b=(6,),
        v=(2, 6, 1, 1),
    )
    assert told(groups) == {"a": (8, 4, ["a"], ["g"]), "g": (6, 3, ["g"], ["y"])}
    assert groups.of("a").unit_channels == 2
    assert labels(groups, "a", 1) == [0, 1, 2, 3] * 2 and labels(groups, "k", 1) == [0, 1, 2, 3]
    assert labels(groups, "k", 0) == [0, 1, 2] * 2


def test_many_blocks_go_as_a_whole() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) g = Conv <group = 8> (a, k, b) y = Conv(g, v) }""",
        w=(16, 3, 1, 1),
        k=(24, 2, 1, 1),
        b=(24,),
        v=(2, 24, 1, 1),
    )
    assert told(groups) == {"a": (16, 8, ["a"], ["y"])}
    assert labels(groups, "g", 1) == [i // 3 for i in range(24)] and ("k", 1) not in groups.axes


def test_blocks_of_the_models_input_can_still_make_fewer_channels() -> None:
    groups = find(
        "(float[1,16,6,6] x) => (float[1,2,6,6] y) { g = Conv <group = 8> (x, k) y = Conv(g, v) }",
        k=(24, 2, 1, 1),
        v=(2, 24, 1, 1),
    )
    assert told(groups) == {"g": (24, 3, ["g"], ["y"])}


def test_blocks_that_read_two_producers_pair_their_channels() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,4,6,6] y) {
            a = Conv(x, w) b = Conv(x, v) c = Concat <axis = 1> (a, b) y = Conv <group = 2> (c, k) }""",
        w=(4, 3, 1, 1),
        v=(4, 3, 1, 1),
        k=(4, 4, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a", "b"], ["y"])}
    assert labels(groups, "c", 1) == [0, 1, 2, 3] * 2


def test_a_transposed_convolution_has_its_inputs_first() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,12,12] y) {
            a = Conv(x, w) t = ConvTranspose <strides = [2, 2]> (a, k, b) y = Conv(t, v) }""",
        w=(4, 3, 1, 1),
        k=(4, 6, 2, 2),
        b=(6,),
        v=(2, 6, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a"], ["t"]), "t": (6, 6, ["t"], ["y"])}
    assert groups.of("a").consumers[0].axis == 0 and groups.of("t").producers[0].axis == 1


def test_a_transposed_convolution_in_blocks() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,12,12] y) {
            a = Conv(x, w) t = ConvTranspose <strides = [2, 2], group = 2> (a, k, b) y = Conv(t, v) }""",
        w=(8, 3, 1, 1),
        k=(8, 3, 2, 2),
        b=(6,),
        v=(2, 6, 1, 1),
    )
    assert told(groups) == {"a": (8, 4, ["a"], ["t"]), "t": (3, 3, ["t"], ["y"])}
    assert labels(groups, "t", 1) == [0, 1, 2] * 2 and labels(groups, "k", 0) == [0, 1, 2, 3] * 2


def test_a_transposed_depthwise_convolution() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,12,12] y) {
            a = Conv(x, w) t = ConvTranspose <strides = [2, 2], group = 4> (a, k) y = Conv(t, v) }""",
        w=(4, 3, 1, 1),
        k=(4, 1, 2, 2),
        v=(2, 4, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a"], ["y"])}


def test_computed_weights_keep_everything() -> None:
    groups = find(
        "(float[1,3,6,6] x, float[2,4,1,1] k) => (float[1,2,6,6] y) { a = Conv(x, w) y = Conv(a, k) }",
        w=(4, 3, 1, 1),
    )
    assert told(groups) == {} and reasons(groups) == {"a": "the weights of Conv 'y' are computed"}


def test_one_weight_of_two_layers_is_cut_for_both() -> None:
    groups = find(
        """(float[1,3,6,6] x, float[1,3,6,6] z) => (float[1,2,6,6] y, float[1,2,6,6] u) {
            a = Conv(x, w) b = Conv(z, w) y = Conv(a, v) u = Conv(b, v) }""",
        w=(4, 3, 1, 1),
        v=(2, 4, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a", "b"], ["y", "u"])}


def test_a_weight_that_is_also_read_whole_stays() -> None:
    groups = find(
        "(float[1,3,6,6] x) => (float[1,2,6,6] y, float[4,3,1,1] u) { a = Conv(x, w) y = Conv(a, v) u = Cosh(w) }",
        w=(4, 3, 1, 1),
        v=(2, 4, 1, 1),
    )
    assert told(groups) == {}
    assert reasons(groups)["a"] == "the constant 'w' is also read where it must keep its length"


def test_a_single_channel_is_never_removed() -> None:
    groups = find(
        "(float[1,3,6,6] x) => (float[1,2,6,6] y) { a = Conv(x, w) y = Conv(a, v) }", w=(1, 3, 1, 1), v=(2, 1, 1, 1)
    )
    assert told(groups) == {} and set(reasons(groups)) == {"y"}


def test_a_bias_ends_the_zeros_of_another_axis() -> None:
    text = """(float[1,3,6,6] x) => (float[2,6,6] y) {
        a = Conv(x, w) r = Reshape(a, s) c = Conv(BIASED) y = ReduceSum <keepdims = 0> (c, first) }"""
    constants = {"w": (8, 3, 1, 1), "s": ints(8, 1, 6, 6), "v": (2, 1, 1, 1), "b": (2,), "first": ints(0)}
    assert told(find(text.replace("BIASED", "r, v"), **constants)) == {"a": (8, 8, ["a"], [])}
    groups = find(text.replace("BIASED", "r, v, b"), **constants)
    assert reasons(groups)["a"] == "ReduceSum 'y' sums over it, and it is not exactly zero where it is removed"


def test_a_bias_of_computed_weights_ends_them_too() -> None:
    groups = find(
        """(float[1,3,6,6] x, float[2,1,1,1] k) => (float[2,6,6] y) {
            a = Conv(x, w) r = Reshape(a, s) c = Conv(r, k, b) y = ReduceSum <keepdims = 0> (c, first) }""",
        w=(8, 3, 1, 1),
        s=ints(8, 1, 6, 6),
        b=(2,),
        first=ints(0),
    )
    assert told(groups) == {}
