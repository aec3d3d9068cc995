import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.graph.storage import to_bytes
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.canonicalize.check import violations
from tests.passes.canonicalize.rewriting import assert_same, build, noise, ops


class Chain:
    """Grows a random graph of float tensors, mixing both layouts as converted TensorFlow models do."""

    def __init__(self, draw) -> None:
        self.draw, self.lines, self.constants, self.count = draw, [], {}, 0
        self.values: list[tuple[str, tuple[int, ...]]] = [("x", (1, 4, 6, 5))]

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def add(self, text: str, shape: tuple[int, ...]) -> None:
        self.count += 1
        self.lines.append(f"v{self.count} = {text}")
        self.values.append((f"v{self.count}", shape))

    def pick(self) -> tuple[str, tuple[int, ...]]:
        return self.values[-1] if self.draw(st.integers(0, 3)) else self.draw(st.sampled_from(self.values))


def _conv(chain: Chain) -> None:
    name, shape = chain.pick()
    if len(shape) != 4:
        return
    depthwise = chain.draw(st.booleans())
    out = shape[1] * chain.draw(st.integers(1, 2)) if depthwise else chain.draw(st.integers(1, 4))
    weight = chain.constant(noise(out, 1 if depthwise else shape[1], 1, 1, seed=chain.count) / 2)
    bias = f", {chain.constant(noise(out))}" if chain.draw(st.booleans()) else ""
    chain.add(f"Conv<group = {shape[1] if depthwise else 1}>({name}, {weight}{bias})", (shape[0], out, *shape[2:]))


def _batch_norm(chain: Chain) -> None:
    name, shape = chain.pick()
    if len(shape) < 2:
        return
    c = shape[1]
    parts = [noise(c, seed=1), noise(c, seed=2), noise(c, seed=3), np.abs(noise(c, seed=4))]
    chain.add(f"BatchNormalization({name}, {', '.join(map(chain.constant, parts))})", shape)


def _affine(chain: Chain) -> None:
    name, shape = chain.pick()
    op = chain.draw(st.sampled_from(["Mul", "Add", "Sub", "Div"]))
    kept = [size if chain.draw(st.booleans()) else 1 for size in shape]
    kept = kept[chain.draw(st.integers(0, len(kept))) :]
    constant = chain.constant(noise(*kept, seed=chain.count) + np.float32(3))
    swapped = chain.draw(st.integers(0, 4)) == 0 and op != "Div"
    chain.add(f"{op}({constant}, {name})" if swapped else f"{op}({name}, {constant})", shape)


def _activation(chain: Chain) -> None:
    name, shape = chain.pick()
    op = chain.draw(
        st.sampled_from(["Relu", "Sigmoid", "Clip", "HardSigmoid", "Identity", "Tanh", "Softmax<axis = 1>", "Dropout"])
    )
    limits = ", lo, hi" if op == "Clip" else ""
    chain.add(f"{op}({name}{limits})", shape)


def _transpose(chain: Chain) -> None:
    name, shape = chain.pick()
    common = [(0, 2, 3, 1), (0, 3, 1, 2)] if len(shape) == 4 else []
    perm = chain.draw(st.sampled_from([*common, tuple(range(len(shape)))[::-1], tuple(range(len(shape)))]))
    chain.add(f"Transpose<perm = [{', '.join(map(str, perm))}]>({name})", tuple(shape[axis] for axis in perm))


def _join(chain: Chain) -> None:
    name, shape = chain.pick()
    partners = [other for other, size in chain.values if size == shape]
    other = chain.draw(st.sampled_from(partners))
    if chain.draw(st.booleans()):
        chain.add(f"{chain.draw(st.sampled_from(['Add', 'Mul']))}({name}, {other})", shape)
    elif np.prod(shape) < 2000:
        axis = chain.draw(st.integers(0, len(shape) - 1))
        chain.add(f"Concat<axis = {axis}>({name}, {other})", (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]))


def _pad(chain: Chain) -> None:
    name, shape = chain.pick()
    amounts = [[chain.draw(st.integers(0, 1)) if i >= 2 else 0 for i in range(len(shape))] for _ in range(2)]
    pads = chain.constant(np.array(amounts, dtype=np.int64).reshape(-1))
    chain.add(f"Pad({name}, {pads})", tuple(s + a + b for s, a, b in zip(shape, *amounts, strict=True)))


def _pool(chain: Chain) -> None:
    name, shape = chain.pick()
    if len(shape) != 4 or min(shape[2:]) < 3:
        return
    op = chain.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    chain.add(f'{op}<kernel_shape = [2, 2], auto_pad = "SAME_UPPER">({name})', shape)


def _reduce(chain: Chain) -> None:
    name, shape = chain.pick()
    if len(shape) != 4:
        return
    keep = chain.draw(st.integers(0, 1))
    first = chain.draw(st.integers(1, 2))
    axes = chain.constant(np.array([first, first + 1]))
    result = [1 if i in (first, first + 1) else size for i, size in enumerate(shape)]
    result = result if keep else [size for i, size in enumerate(shape) if i not in (first, first + 1)]
    chain.add(f"ReduceMean<keepdims = {keep}>({name}, {axes})", tuple(result))


def _reshape(chain: Chain) -> None:
    name, shape = chain.pick()
    options = [
        (shape[0], int(np.prod(shape[1:]))),
        (1, *shape)[:4] if len(shape) == 3 else shape,
        tuple(s for s in shape if s != 1),
    ]
    target = chain.draw(st.sampled_from(options)) or (1,)
    chain.add(f"Reshape({name}, {chain.constant(np.array(target, dtype=np.int64))})", target)


def _dense(chain: Chain) -> None:
    name, shape = chain.pick()
    if len(shape) < 2:
        return
    out = chain.draw(st.integers(1, 4))
    chain.add(f"MatMul({name}, {chain.constant(noise(shape[-1], out) / shape[-1])})", (*shape[:-1], out))


_STEPS = [
    _conv,
    _conv,
    _batch_norm,
    _affine,
    _activation,
    _transpose,
    _transpose,
    _join,
    _pad,
    _pool,
    _reduce,
    _reshape,
    _dense,
]


@st.composite
def chains(draw) -> ir.Model:
    chain = Chain(draw)
    chain.constants.update(lo=np.array(0.0), hi=np.array(6.0))
    for step in draw(st.lists(st.sampled_from(_STEPS), min_size=1, max_size=14)):
        step(chain)
    if not chain.lines:
        chain.add("Relu(x)", (1, 4, 6, 5))
    produced = [name for name, _ in chain.values[1:]]
    extra = draw(st.sets(st.sampled_from(produced), max_size=2))
    outputs = " ".join(sorted(extra | {produced[-1]}))
    used = {part.strip(",()") for line in chain.lines for part in line.replace("(", " ").split()}
    return build(
        {"x": (1, 4, 6, 5)}, outputs, "\n".join(chain.lines), **{k: v for k, v in chain.constants.items() if k in used}
    )


@given(chains())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs_compute_the_same_in_canonical_form(model: ir.Model) -> None:
    before = to_bytes(model)
    canonical = canonicalize(model)
    assert_same(model, canonical, tolerance=5e-5)
    assert violations(canonical) == []
    assert to_bytes(canonicalize(canonical)) == to_bytes(canonical)
    assert to_bytes(model) == before
    assert len(canonical.graph) <= len(model.graph) + sum(op == "BatchNormalization" for op in ops(model)) + 3
