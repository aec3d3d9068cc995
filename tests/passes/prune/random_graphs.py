"""A Hypothesis strategy for networks of all the ops that channels pass through, wired at random.

Every step reads one or two of the values so far, so that there are branches, sums of many terms, values that are read
twice, and ends that nobody reads. Sizes are small, and channel counts repeat so that sums are found.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

from tests.passes.prune.networks import Builder

_CHANNELS = (4, 8, 12, 16, 24)
_LARGEST = 64
"""Channels at most; and four times that after Flatten."""

Step = Callable[["Draw"], None]


class Draw:
    """The network so far, and what Hypothesis draws for the next step. ``maps`` are values [batch, channels, h, w]."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.net = Builder(draw(st.sampled_from([1, 1, 2])), 3, 8, 8, seed=draw(st.integers(0, 999)))
        self.maps = [self.net.relu(self.net.conv("x", self.number(*_CHANNELS), 3))]
        self.outputs: list[str] = []

    def number(self, *numbers: int) -> int:
        return self._draw(st.sampled_from(numbers))

    def word(self, *words: str) -> str:
        return self._draw(st.sampled_from(words))

    def map(self) -> str:
        """One of the maps, the later the likelier."""
        return self.maps[-1 - min(self._draw(st.integers(0, 3)), len(self.maps) - 1)]

    def like(self, x: str) -> str:
        """A map of the same shape as ``x``: an old one, or a new convolution's."""
        alike = [value for value in self.maps if value != x and self.net.shapes[value] == self.net.shapes[x]]
        if alike and self.number(0, 1):
            return self._draw(st.sampled_from(alike))
        return self.net.conv(x, self.net.shapes[x][1], self.number(1, 3))

    def channels(self, x: str) -> int:
        return self.net.shapes[x][1]

    def divisor(self, number: int, *wanted: int) -> int:
        """One of ``wanted`` that divides; 1 when none does."""
        return self.number(*([each for each in wanted if number % each == 0] or [1]))

    def steps(self, most: int) -> list[str]:
        return self._draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=most))

    def names(self, names: list[str]) -> list[str]:
        return self._draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))

    def keep(self, x: str) -> None:
        """Remember a new map, unless it has grown too large or vanished."""
        _, channels, height, width = self.net.shapes[x]
        if 2 <= channels <= _LARGEST and 2 <= height <= 16 and 2 <= width <= 16:
            self.maps.append(x)


def _conv(draw: Draw) -> None:
    x = draw.map()
    made = draw.net.conv(
        x, draw.number(*_CHANNELS), draw.number(1, 3), stride=draw.number(1, 1, 2), bias=draw.number(0, 1) == 1
    )
    draw.keep(draw.net.relu(made) if draw.number(0, 1) else made)


def _depthwise(draw: Draw) -> None:
    x = draw.map()
    draw.keep(draw.net.conv(x, draw.channels(x) * draw.number(1, 1, 2), 3, group=draw.channels(x)))


def _grouped(draw: Draw) -> None:
    x = draw.map()
    group = draw.divisor(draw.channels(x), 2, 3, 4, 8, 12)
    draw.keep(draw.net.conv(x, group * draw.number(1, 2, 3), 3, group=group))


def _conv_transpose(draw: Draw) -> None:
    x = draw.map()
    group = draw.divisor(draw.channels(x), 1, 1, 2, 4, draw.channels(x))
    draw.keep(draw.net.conv_transpose(x, group * draw.number(2, 4) if group < 8 else group, 2, group=group))


def _activation(draw: Draw) -> None:
    kinds = "Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Softplus", "Elu", "Exp", "Abs", "Clip", "PRelu"
    x, kind = draw.map(), draw.word(*kinds)
    if kind == "Clip":
        draw.keep(draw.net.op("Clip", x, draw.net.constant(np.float32(0)), draw.net.constant(np.float32(6))))
    elif kind == "PRelu":
        draw.keep(draw.net.op("PRelu", x, draw.net.normal(draw.channels(x), 1, 1)))
    elif kind == "Exp":
        draw.keep(draw.net.op("Exp", draw.net.op("Neg", draw.net.op("Abs", x))))
    else:
        draw.keep(draw.net.op(kind, x))


def _affine(draw: Draw) -> None:
    x = draw.map()
    if draw.number(0, 1):
        draw.keep(draw.net.batch_norm(draw.net.relu(x)))
    else:
        shape = draw.number(1, draw.channels(x)), 1, draw.number(1, draw.net.shapes[x][3])
        draw.keep(draw.net.op(draw.word("Mul", "Add", "Sub", "Div"), x, draw.net.uniform(*shape)))


def _combine(draw: Draw) -> None:
    x = draw.map()
    draw.keep(draw.net.op(draw.word("Add", "Add", "Add", "Mul", "Sub", "Max"), x, draw.like(x)))


def _residual(draw: Draw) -> None:
    """An inverted bottleneck, perhaps with its own squeeze-excite, whose output is added to its input."""
    x, net = draw.map(), draw.net
    wide = net.relu(net.conv(x, draw.number(*_CHANNELS)))
    wide = net.relu(net.conv(wide, draw.channels(wide), 3, group=draw.channels(wide)))
    if draw.number(0, 1):
        wide = net.squeeze_excite(wide, 4)
    branch = net.conv(wide, draw.channels(x))
    if draw.number(0, 1):
        branch = net.op("Mul", branch, net.uniform(draw.channels(x), 1, 1))
    draw.keep(net.op("Add", branch, x))


def _concat(draw: Draw) -> None:
    x = draw.map()
    alike = [value for value in draw.maps if draw.net.shapes[value][2:] == draw.net.shapes[x][2:]]
    other = alike[draw.number(*range(len(alike)))] if draw.number(0, 1) else draw.net.conv(x, draw.number(4, 8), 3)
    draw.keep(draw.net.op("Concat", x, other, axis=1))


def _split(draw: Draw) -> None:
    x = draw.map()
    size = draw.channels(x)
    first = draw.number(size // 2, size // 4)
    parts = draw.net.op("Split", x, draw.net.ints(first, size - first), outputs=2, axis=1)
    for part in parts[: draw.number(1, 2, 2)]:
        draw.keep(part)


def _slice(draw: Draw) -> None:
    x = draw.map()
    size, axis = draw.channels(x), draw.number(1, 1, 1, 3)
    start, end, step = [(0, size // 2, 1), (size // 4, 10**9, 1), (0, size, 2), (-1, -(10**9), -1)][
        draw.number(*range(4))
    ]
    if axis == 3:
        start, end, step = 1, -1, 1
    ints = draw.net.ints
    draw.keep(draw.net.op("Slice", x, ints(start), ints(end), ints(axis), ints(step)))


def _gather(draw: Draw) -> None:
    x = draw.map()
    order = draw.net.rng.permutation(draw.channels(x))[: draw.number(4, draw.channels(x))]
    draw.keep(draw.net.op("Gather", x, draw.net.ints(*order), axis=1))


def _squeeze_excite(draw: Draw) -> None:
    draw.keep(draw.net.squeeze_excite(draw.map(), draw.number(4, 8)))


def _shuffle(draw: Draw) -> None:
    x = draw.map()
    draw.keep(draw.net.shuffle(x, draw.divisor(draw.channels(x), 2, 3, 4)))


def _rearrange(draw: Draw) -> None:
    """Between depth and space."""
    x = draw.map()
    if draw.net.shapes[x][2] % 2 == 0 and draw.number(0, 1):
        draw.keep(draw.net.op("SpaceToDepth", x, blocksize=2))
    elif draw.channels(x) % 4 == 0:
        draw.keep(draw.net.op("DepthToSpace", x, blocksize=2, mode=draw.word("CRD", "DCR")))


def _pool(draw: Draw) -> None:
    x = draw.map()
    kind = draw.word("MaxPool", "AveragePool")
    draw.keep(draw.net.op(kind, x, kernel_shape=[2, 2], strides=[draw.number(1, 2)] * 2))


def _resize(draw: Draw) -> None:
    x, empty = draw.map(), draw.net.constant(np.zeros(0, dtype=np.float32))
    batch, channels, height, width = draw.net.shapes[x]
    sizes = draw.net.ints(batch, channels, height * 2, width)
    draw.keep(draw.net.op("Resize", x, "", empty, sizes, mode=draw.word("nearest", "linear")))


def _pad(draw: Draw) -> None:
    x = draw.map()
    more = draw.number(0, 0, 4)
    pads = draw.net.ints(0, more, 1, 0, 0, draw.number(0, more), 0, 1)
    draw.keep(draw.net.op("Pad", x, pads, draw.net.constant(np.float32(draw.number(0, 0, 1)))))


def _expand(draw: Draw) -> None:
    """A pooled map, spread out again."""
    x = draw.map()
    pooled = draw.net.op(draw.word("GlobalAveragePool", "GlobalMaxPool"), x)
    height, width = draw.net.shapes[x][2:]
    if draw.number(0, 1):
        draw.keep(draw.net.op("Expand", pooled, draw.net.ints(*draw.net.shapes[x])))
    else:
        draw.keep(draw.net.op("Tile", pooled, draw.net.ints(1, 1, height, width)))


def _normalize(draw: Draw) -> None:
    x = draw.map()
    size = draw.channels(x)
    kind = draw.word("instance", "group", "layer", "width", "softmax")
    if kind == "instance":
        draw.keep(draw.net.op("InstanceNormalization", x, draw.net.uniform(size), draw.net.normal(size)))
    elif kind == "group":
        groups = draw.divisor(size, 2, 4)
        scale, bias = draw.net.uniform(size), draw.net.normal(size)
        draw.keep(draw.net.op("GroupNormalization", x, scale, bias, num_groups=groups))
    elif kind == "softmax":
        draw.keep(draw.net.op("Softmax", x, axis=draw.number(1, 2, 3)))
    else:
        axis = 1 if kind == "layer" else 3
        scale = draw.net.uniform(*draw.net.shapes[x][axis:])
        draw.keep(draw.net.op("LayerNormalization", x, scale, axis=axis))


def _channels_last(draw: Draw) -> None:
    """A fully connected layer over the channels, as a vision transformer's, with or without its norm."""
    x, net = draw.map(), draw.net
    last = net.op("Transpose", x, perm=[0, 2, 3, 1])
    if draw.number(0, 1):
        last = net.op("LayerNormalization", last, net.uniform(net.shapes[last][-1]), net.normal(net.shapes[last][-1]))
    hidden = net.op(draw.word("Gelu", "Relu"), net.linear(last, draw.number(8, 16)))
    made = net.linear(hidden, draw.channels(x), bias=draw.number(0, 1) == 1)
    draw.keep(net.op("Transpose", net.op("Add", made, last), perm=[0, 3, 1, 2]))


def _attention(draw: Draw) -> None:
    x, net = draw.map(), draw.net
    batch, channels, height, width = net.shapes[x]
    tokens = net.op("Transpose", net.reshape(x, batch, channels, height * width), perm=[0, 2, 1])
    mixed = net.attention(tokens, draw.number(2, 4), draw.number(3, 4))
    draw.keep(net.reshape(net.op("Transpose", mixed, perm=[0, 2, 1]), batch, channels, height, width))


def _similarity(draw: Draw) -> None:
    """A product of two activations over channels, as in a non-local block."""
    x, net = draw.map(), draw.net
    batch, channels, height, width = net.shapes[x]
    one, other = (net.reshape(net.conv(x, 8), batch, 8, height * width) for _ in range(2))
    similar = net.op("MatMul", net.op("Transpose", one, perm=[0, 2, 1]), other)
    weights = net.op("Softmax", similar, axis=-1) if draw.number(0, 1) else similar
    values = net.reshape(net.conv(x, channels), batch, channels, height * width)
    draw.keep(net.reshape(net.op("MatMul", values, weights), batch, channels, height, width))


def _dense(draw: Draw) -> None:
    """Flatten, a fully connected layer, and back to a map."""
    x, net = draw.map(), draw.net
    batch = net.shapes[x][0]
    if np.prod(net.shapes[x][1:]) > 4 * _LARGEST * 4:
        return
    size = draw.number(4, 8)
    flat = net.relu(net.gemm(net.op("Flatten", x), size * 4))
    draw.keep(net.reshape(flat, batch, size, 2, 2))


def _reduce(draw: Draw) -> None:
    x = draw.map()
    axis = draw.number(1, 2, 3)
    reduced = draw.net.op(draw.word("ReduceMean", "ReduceMax", "ReduceSum"), x, draw.net.ints(axis))
    draw.keep(draw.net.op("Mul", x, reduced))


def _siamese(draw: Draw) -> None:
    """Two convolutions with the same weight, or the same map read twice."""
    x, net = draw.map(), draw.net
    weight = net.weight(draw.number(4, 8), draw.channels(x), 3, 3)
    one = net.op("Conv", x, weight, pads=[1] * 4)
    other = net.op("Conv", draw.like(x), weight, pads=[1] * 4)
    draw.keep(one)
    draw.keep(net.op(draw.word("Add", "Mul"), one, draw.word(one, other)))


def _constant_term(draw: Draw) -> None:
    """Positions are added, or a constant is a channel or a row more."""
    x, net = draw.map(), draw.net
    batch, channels, height, width = net.shapes[x]
    if draw.number(0, 1):
        draw.keep(net.op("Add", x, net.normal(1, channels, height, width)))
    elif draw.number(0, 1):
        draw.keep(net.op("Concat", x, net.normal(batch, 3, height, width), axis=1))
    else:
        draw.keep(net.op("Concat", net.normal(batch, channels, 1, width), x, axis=2))


def _quotient(draw: Draw) -> None:
    x, net = draw.map(), draw.net
    below = net.op("Abs", draw.like(x)) if draw.number(0, 1) else net.op("ReduceL2", x, net.ints(draw.number(1, 3)))
    draw.keep(net.op("Div", x, net.op("Add", below, net.constant(np.float32(1)))))


def _selection(draw: Draw) -> None:
    """Ops that look at all channels at once, or compare them."""
    x, net = draw.map(), draw.net
    kind = draw.word("LRN", "CumSum", "Where", "TopK", "LogSoftmax")
    if kind == "LRN":
        draw.keep(net.op("LRN", x, size=3))
    elif kind == "CumSum":
        draw.keep(net.op("CumSum", x, net.constant(np.int64(draw.number(1, 2)))))
    elif kind == "Where":
        mask = net.constant(net.rng.integers(0, 2, (draw.channels(x), 1, 1)).astype(bool))
        draw.keep(net.op("Where", mask, x, draw.like(x)))
    elif kind == "TopK":
        axis = draw.number(1, 2)
        draw.keep(net.op("TopK", x, net.ints(2), axis=axis, outputs=2)[0])
    else:
        draw.keep(net.op("LogSoftmax", x, axis=draw.number(1, 3)))


def _left_product(draw: Draw) -> None:
    """A constant on the left of a product mixes rows; over tokens in front it mixes channels."""
    x, net = draw.map(), draw.net
    batch, channels, height, width = net.shapes[x]
    if draw.number(0, 1):
        draw.keep(net.op("MatMul", net.normal(height, height, scale=0.4), x))
    else:
        flat = net.reshape(x, batch, channels, height * width)
        mixed = net.op("MatMul", net.normal(8, channels, scale=channels**-0.5), flat)
        draw.keep(net.reshape(mixed, batch, 8, height, width))


def _squeezed(draw: Draw) -> None:
    """The axes of a map go away, and come back."""
    x, net = draw.map(), draw.net
    pooled = net.op("ReduceMean", x, net.ints(2, 3), keepdims=0)
    gate = net.op("Sigmoid", net.linear(pooled, draw.channels(x))) if draw.number(0, 1) else pooled
    back = net.op("Unsqueeze", gate, net.ints(2, 3))
    draw.keep(net.op("Mul", x, back))


def _einsum(draw: Draw) -> None:
    """A pointwise convolution, written as a sum of products; or products of two maps over one axis."""
    x, net = draw.map(), draw.net
    if draw.number(0, 1):
        channels = draw.channels(x)
        draw.keep(net.op("Einsum", x, net.normal(channels, 8, scale=channels**-0.5), equation="bchw,co->bohw"))
    else:
        draw.keep(net.op("Einsum", x, draw.like(x), equation=draw.word("bchw,bchv->bcwv", "bchw,bdhw->bcdw")))


def _lines(draw: Draw) -> None:
    """One spatial axis: a one-dimensional convolution over rows, one behind another."""
    x, net = draw.map(), draw.net
    batch, channels, height, width = net.shapes[x]
    line = net.reshape(x, batch, channels, height * width)
    made = net.op("Conv", line, net.weight(8, channels, 3), pads=[1, 1])
    draw.keep(net.reshape(net.relu(made), batch, 8, height, width))


def _output(draw: Draw) -> None:
    draw.outputs.append(draw.map())


STEPS: dict[str, Step] = {
    "activation": _activation,
    "affine": _affine,
    "attention": _attention,
    "channels_last": _channels_last,
    "combine": _combine,
    "concat": _concat,
    "constant_term": _constant_term,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "dense": _dense,
    "depthwise": _depthwise,
    "einsum": _einsum,
    "expand": _expand,
    "gather": _gather,
    "grouped": _grouped,
    "left_product": _left_product,
    "lines": _lines,
    "normalize": _normalize,
    "output": _output,
    "pad": _pad,
    "pool": _pool,
    "quotient": _quotient,
    "rearrange": _rearrange,
    "reduce": _reduce,
    "residual": _residual,
    "resize": _resize,
    "selection": _selection,
    "shuffle": _shuffle,
    "siamese": _siamese,
    "similarity": _similarity,
    "slice": _slice,
    "split": _split,
    "squeeze_excite": _squeeze_excite,
    "squeezed": _squeezed,
}


@st.composite
def random_models(draw: st.DrawFn, most: int = 8) -> ir.Model:
    """A canonical network of up to ``most`` steps, whose last maps end in scores or in a convolution."""
    state = Draw(draw)
    for name in state.steps(most):
        STEPS[name](state)
    net = state.net
    ends = [*dict.fromkeys([state.maps[-1], state.map()])]
    outputs = [net.head(end) if state.number(0, 1) else net.conv(end, 2, 3) for end in ends]
    return net.model(*outputs, *dict.fromkeys(state.outputs))
