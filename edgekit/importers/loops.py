"""Loops whose number of steps is known, unrolled: what runtimes for phones cannot loop over, they can run step by step.

Keras and TensorFlow write recurrent layers as such loops, PyTorch writes ``for`` statements of scripted modules so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekit.graph import IR_VERSION, OPSET
from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.importers.skeleton import subgraphs

_MAX_NODES = 20_000
"""What one unrolled loop may have; beyond it a file is slower to load than to run."""

_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}

_Values = dict[str, NDArray[np.generic]]


def unroll_loops(graph: onnx.GraphProto) -> int:
    """Replace every Loop whose steps can be counted without data by its steps; returns how many were.

    Given: ``h = Loop(12, True, h0)``, whose body computes ``h' = f(h, step)``
    Result: ``h_1 = f(h0, 0)``, ``h_2 = f(h_1, 1)``, … and one Concat per scan output
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    unrolled = 0
    for index, node in enumerate(graph.node):
        loop = _Loop.of(node) if node.op_type == "Loop" else None
        steps = _count_steps(loop, constants) if loop else None
        if loop is None or steps is None:
            nodes.append(node)
            continue
        nodes += _Unrolling(graph, loop, f"{node.name or 'Loop'}_{index}/").nodes(steps)
        unrolled += 1
    if unrolled:
        del graph.node[:]
        graph.node.extend(nodes)
    return unrolled


@dataclass(frozen=True, slots=True)
class _Loop:
    """A Loop node, with the names in its body: ``carried`` inputs become ``updates``; ``scans`` are collected."""

    node: onnx.NodeProto
    body: onnx.GraphProto
    carried: list[str]
    updates: list[str]
    scans: list[str]

    @classmethod
    def of(cls, node: onnx.NodeProto) -> "_Loop":
        body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
        carried = [value.name for value in body.input[2:]]
        alias = {inner.output[0]: inner.input[0] for inner in body.node if inner.op_type == "Identity"}
        outputs = [_resolved(value.name, alias) for value in body.output[1:]]
        return cls(node, body, carried, outputs[: len(carried)], outputs[len(carried) :])

    @property
    def initial(self) -> list[str]:
        return list(self.node.input[2:])


def _resolved(name: str, alias: Mapping[str, str]) -> str:
    while name in alias:
        name = alias[name]
    return name


def _count_steps(loop: _Loop, constants: Mapping[str, onnx.TensorProto]) -> list[_Values] | None:
    """What the body's values that depend on no data are in every step, and after the last one (the last entry).

    None when the number of steps depends on data or is too large.
    """
    given = [name for name in (*loop.node.input[:2], *loop.initial) if name]
    known = {name: onnx.numpy_helper.to_array(constants[name]) for name in given if name in constants}
    if any(name not in known for name in loop.node.input[:2] if name):
        return None
    trips, proceed = (known[name].reshape(-1)[0] if name else None for name in (*loop.node.input, "", "")[:2])
    control = _control_nodes(loop, constants, known)
    condition = loop.body.output[0].name
    counter, keep_going = (value.name for value in loop.body.input[:2])
    state = {name: known[start] for name, start in zip(loop.carried, loop.initial, strict=True) if start in known}
    state = {name: value for name, value in state.items() if name in control.carried}
    state[keep_going] = np.array(True if proceed is None else proceed)
    if condition not in control.made | state.keys():
        return None
    steps: list[_Values] = []
    limit = _MAX_NODES // max(len(loop.body.node) - len(control.nodes), 1)
    while bool(state[keep_going].reshape(-1)[0]) and (trips is None or len(steps) < trips):
        if len(steps) >= limit:
            return None
        values = control.evaluate({**state, counter: np.array(len(steps), np.int64)})
        steps.append(values)
        state = {name: values[update] for name, update in control.carried.items()}
        state[keep_going] = values[condition]
    return None if not steps and loop.scans else [*steps, state]


@dataclass(slots=True)
class _Control:
    """The part of a body that depends on no data: ``carried`` maps its inputs to what they become."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]
    carried: dict[str, str]
    session: object = field(default=None)

    @property
    def made(self) -> set[str]:
        return {name for node in self.nodes for name in node.output if name} | {t.name for t in self.constants}

    def evaluate(self, inputs: _Values) -> _Values:
        """All values that these nodes make of ``inputs``, and the inputs."""
        made = [name for node in self.nodes for name in node.output if name]
        fixed = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self.constants}
        if not made:
            return {**fixed, **inputs}
        onnxruntime = load_onnxruntime()
        if self.session is None:
            self.session = _session(self, inputs, made)
        assert isinstance(self.session, onnxruntime.InferenceSession)
        used = {value.name for value in self.session.get_inputs()}
        results = self.session.run(made, {name: value for name, value in inputs.items() if name in used})
        return {**fixed, **inputs, **{name: np.asarray(value) for name, value in zip(made, results, strict=True)}}


def _session(control: _Control, inputs: _Values, made: list[str]) -> object:
    onnxruntime = load_onnxruntime()
    graph = onnx.helper.make_graph(
        control.nodes,
        "loop_control",
        [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None)
            for name, value in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in made],
        control.constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _control_nodes(loop: _Loop, constants: Mapping[str, onnx.TensorProto], known: _Values) -> _Control:
    """The largest such part: assume that all carried values with known starts belong to it, drop those that do not."""
    carried = {
        name: update
        for name, start, update in zip(loop.carried, loop.initial, loop.updates, strict=True)
        if start in known and update != name
    }
    fixed = [*loop.body.initializer]
    own = {tensor.name for tensor in fixed} | {name for node in loop.body.node for name in node.output}
    own |= {value.name for value in loop.body.input}
    outer = {name for node in loop.body.node for name in node.input if name and name not in own}
    fixed += [constants[name] for name in sorted(outer) if name in constants]
    while True:
        available = {value.name for value in loop.body.input[:2]} | set(carried) | {tensor.name for tensor in fixed}
        nodes = []
        for node in loop.body.node:
            nested = any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)
            if nested or node.op_type in _RANDOM or not all(name in available for name in node.input if name):
                continue
            nodes.append(node)
            available.update(node.output)
        lost = [name for name, update in carried.items() if update not in available]
        if not lost:
            return _Control(nodes, fixed, carried)
        for name in lost:
            del carried[name]


@dataclass(slots=True)
class _Unrolling:
    """Writes the steps of ``loop`` into ``graph``, under names that start with ``prefix``."""

    graph: onnx.GraphProto
    loop: _Loop
    prefix: str
    shared: dict[str, str] = field(default_factory=dict)
    """Body names of what is the same in every step, with their names outside."""

    def nodes(self, steps: list[_Values]) -> list[onnx.NodeProto]:
        """The nodes in place of the Loop; ``steps`` as ``_count_steps`` gives them."""
        loop = self.loop
        current = dict(zip(loop.carried, loop.initial, strict=True))
        for tensor in loop.body.initializer:
            self.shared[tensor.name] = self.prefix + tensor.name
            self.graph.initializer.add().CopyFrom(tensor)
            self.graph.initializer[-1].name = self.prefix + tensor.name
        self.shared |= {
            name: current[name] for name, update in zip(loop.carried, loop.updates, strict=True) if name == update
        }
        nodes: list[onnx.NodeProto] = []
        collected: list[list[str]] = [[] for _ in loop.scans]
        for number, values in enumerate(steps[:-1]):
            step = f"{self.prefix}{number}/"
            names = {**current, **self._literals(values, step), **self.shared}
            nodes += self._step(values, names, step)
            current = {name: names.get(update, update) for name, update in zip(loop.carried, loop.updates, strict=True)}
            for scan, name in zip(collected, loop.scans, strict=True):
                scan.append(names.get(name, name))
        for name, value in steps[-1].items():
            current[name] = f"{self.prefix}end/{name}"
            self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), current[name]))
        return [*nodes, *self._results([current[name] for name in loop.carried], collected)]

    def _literals(self, values: _Values, step: str) -> dict[str, str]:
        """Initializers for those of ``values`` that nodes outside the control part, or results, read."""
        made = set(values)
        read = {
            name
            for node in self.loop.body.node
            if not set(node.output) <= made
            for nested in _reads(node)
            for name in nested
        }
        updates = zip(self.loop.carried, self.loop.updates, strict=True)
        read |= {*self.loop.scans, *(update for name, update in updates if name not in made)}
        names = {}
        for name in sorted(made & read - set(self.shared)):
            names[name] = step + name
            self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values[name]), step + name))
        return names

    def _step(self, values: _Values, names: dict[str, str], step: str) -> Iterator[onnx.NodeProto]:
        """The data nodes of one step; ``names`` gains the outside names of what they make."""
        own = {value.name for value in self.loop.body.input} | {n for node in self.loop.body.node for n in node.output}
        for node in self.loop.body.node:
            if set(node.output) <= self.shared.keys() | values.keys():
                continue
            reads = {name for nested in _reads(node) for name in nested}
            same = node.op_type not in _RANDOM and all(name in self.shared or name not in own for name in reads)
            place = self.prefix if same else step
            made = {name: place + name for nested in _writes(node) for name in nested if name}
            names |= made
            if same:
                self.shared |= made
            yield _renamed(node, names, place)

    def _results(self, finals: list[str], collected: list[list[str]]) -> Iterator[onnx.NodeProto]:
        outputs = list(self.loop.node.output)
        for final, output in zip(finals, outputs, strict=False):
            if output:
                yield onnx.helper.make_node("Identity", [final], [output], name=f"{self.prefix}{output}")
        axes = f"{self.prefix}scan_axes"
        if collected:
            self.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), axes))
        for scan, output in zip(collected, outputs[len(finals) :], strict=False):
            if not output:
                continue
            rows = [f"{self.prefix}{number}/{output}" for number in range(len(scan))]
            for name, row in zip(scan, rows, strict=True):
                yield onnx.helper.make_node("Unsqueeze", [name, axes], [row], name=row)
            yield onnx.helper.make_node("Concat", rows, [output], name=f"{self.prefix}{output}", axis=0)


def _reads(node: onnx.NodeProto) -> Iterator[list[str]]:
    """Input names of ``node`` and of the nodes nested in it."""
    yield [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for nested in subgraphs(attribute.g):
                for inner in nested.node:
                    yield [name for name in inner.input if name]
                yield [value.name for value in nested.output]


def _writes(node: onnx.NodeProto) -> Iterator[list[str]]:
    """Names that ``node``, and what is nested in it, defines."""
    yield list(node.output)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for nested in subgraphs(attribute.g):
                yield [value.name for value in (*nested.input, *nested.initializer)]
                for inner in nested.node:
                    yield list(inner.output)


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], prefix: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = prefix + node.name if node.name else ""
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        if attribute.type != onnx.AttributeProto.GRAPH:
            continue
        for nested in subgraphs(attribute.g):
            for value in (*nested.input, *nested.output, *nested.initializer):
                value.name = names.get(value.name, value.name)
            for inner in nested.node:
                inner.input[:] = [names.get(name, name) for name in inner.input]
                inner.output[:] = [names.get(name, name) for name in inner.output]
    return copy
