"""LSTM, GRU and RNN, unrolled over their static length.

UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state between invocations, which an ONNX LSTM does not, so it is not used: the
input projection of all steps is one FULLY_CONNECTED, and every step then costs another and a few elementwise operators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.lowering import Lowering
from edgekit.exporters.tflite.model import Array, Operator, Tensor, constant
from edgekit.exporters.tflite.ops.expressions import binary, unary
from edgekit.exporters.tflite.ops.registry import lowers

_DEFAULT_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@dataclass(slots=True)
class _State:
    """What one step hands to the next; ``cell`` is for LSTM only. None is zero."""

    hidden: Tensor | None
    cell: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction's constants: ``weights`` [gates, inputs], ``recurrent`` [gates, hidden], biases [gates]."""

    weights: Array
    recurrent: Array
    input_bias: Array
    recurrent_bias: Array
    hidden: int


_Step = Callable[[Lowering, _Direction, Tensor, _State], _State]


@lowers("LSTM")
def lstm(lowering: Lowering, node: ir.Node) -> None:
    """c' = f c + i g, h' = o tanh(c'); gates in ONNX order i, o, f, g."""
    if lowering.optional(node, 7) is not None or node.attributes.get_int("input_forget", 0) == 1:
        raise UnsupportedError("peepholes and input_forget have no lowering")
    _recurrent(lowering, node, _lstm_step)


@lowers("GRU")
def gru(lowering: Lowering, node: ir.Node) -> None:
    """h' = n + z (h - n); gates in ONNX order z, r, n."""
    after = bool(node.attributes.get_int("linear_before_reset", 0))
    _recurrent(lowering, node, _gru_step_reset_after if after else _gru_step_reset_before)


@lowers("RNN")
def rnn(lowering: Lowering, node: ir.Node) -> None:
    """h' = tanh(W x + R h + b)."""
    _recurrent(lowering, node, _rnn_step)


def _check(lowering: Lowering, node: ir.Node, directions: int) -> None:
    activations = node.attributes.get_strings("activations", None) or []
    if activations and list(activations) != _DEFAULT_ACTIVATIONS[node.op_type] * directions:
        raise UnsupportedError(f"activations {list(activations)}; the defaults expected")
    if node.attributes.get_int("layout", 0) == 1 or node.attributes.get_float("clip", 0.0) != 0:
        raise UnsupportedError("layout=1 and clip have no lowering")
    lengths = lowering.optional(node, 4)
    if lengths is not None:
        whole = lowering.is_constant(lengths) and np.all(
            lowering.required(node, 4) == lowering.shape(node.inputs[0])[0]
        )
        if not whole:
            raise UnsupportedError("sequence_lens other than the whole length has no lowering")


def _recurrent(lowering: Lowering, node: ir.Node, step: _Step) -> None:
    directions = lowering.shape(node.inputs[1])[0]
    _check(lowering, node, directions)
    source = lowering.tensor(node.inputs[0])
    reverse = node.attributes.get_string("direction", "forward") == "reverse"
    runs = [_run(lowering, node, (source, index, reverse or index == 1), step) for index in range(directions)]
    sequences = [sequence for sequence, _ in runs]
    whole = sequences[0] if directions == 1 else _joined(lowering, sequences, 1)
    _deliver(lowering, node, 0, whole)
    for index, states in ((1, [s.hidden for _, s in runs]), (2, [s.cell for _, s in runs])):
        tensors = [lowering.reshape(tensor, (1, *tensor.shape)) for tensor in states if tensor is not None]
        if tensors:
            _deliver(lowering, node, index, tensors[0] if directions == 1 else _joined(lowering, tensors, 0))


def _deliver(lowering: Lowering, node: ir.Node, index: int, tensor: Tensor) -> None:
    if index < len(node.outputs) and (node.outputs[index].uses() or node.outputs[index].is_graph_output()):
        lowering.alias(node, tensor, layout.identity(len(tensor.shape)), index)


def _joined(lowering: Lowering, tensors: Sequence[Tensor], axis: int) -> Tensor:
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    return lowering.emit("CONCATENATION", list(tensors), shape, axis=axis, fused_activation_function="NONE")


def _direction(lowering: Lowering, node: ir.Node, index: int) -> _Direction:
    weights, recurrent = lowering.required(node, 1)[index], lowering.required(node, 2)[index]
    gates, hidden = recurrent.shape
    bias = np.zeros(2 * gates, np.float32)
    if lowering.optional(node, 3) is not None:
        bias = lowering.required(node, 3)[index]
    return _Direction(weights, recurrent, bias[:gates], bias[gates:], hidden)


def _run(lowering: Lowering, node: ir.Node, task: tuple[Tensor, int, bool], step: _Step) -> tuple[Tensor, _State]:
    """The hidden states of all steps as [steps, 1, batch, hidden], and the last state."""
    source, index, reverse = task
    direction = _direction(lowering, node, index)
    steps, batch, _ = source.shape
    gates = len(direction.weights)
    own_bias = direction.input_bias
    if step is _lstm_step or step is _rnn_step:
        own_bias = own_bias + direction.recurrent_bias
    projected = _dense(lowering, source, direction.weights, own_bias)
    parts = [Tensor(f"{projected.name}/{i}", (batch, gates), projected.dtype) for i in range(steps)]
    lowering.operators.append(Operator("UNPACK", [projected], list(parts), {"num": steps, "axis": 0}))
    state = _State(
        _initial(lowering, node, 5, index), _initial(lowering, node, 6, index) if step is _lstm_step else None
    )
    outputs: list[Tensor] = []
    for part in reversed(parts) if reverse else parts:
        state = step(lowering, direction, part, state)
        assert state.hidden is not None
        outputs.append(state.hidden)
    ordered = outputs[::-1] if reverse else outputs
    shape = (steps, batch, direction.hidden)
    stacked = lowering.emit("PACK", ordered, shape, values_count=steps, axis=0)
    return lowering.reshape(stacked, (steps, 1, batch, direction.hidden)), state


def _initial(lowering: Lowering, node: ir.Node, position: int, index: int) -> Tensor | None:
    value = lowering.optional(node, position)
    if value is None or (lowering.is_constant(value) and not lowering.required(node, position).any()):
        return None
    tensor = lowering.tensor(value)
    begin, size = (index, 0, 0), (1, *tensor.shape[1:])
    if tensor.shape[0] > 1:
        tensor = lowering.emit("SLICE", [tensor, constant("begin", begin), constant("size", size)], size)
    return lowering.reshape(tensor, tensor.shape[1:])


def _dense(lowering: Lowering, source: Tensor, weights: Array, bias: Array) -> Tensor:
    operands = [source, lowering.real("weights", weights), lowering.real("bias", bias)]
    shape = (*source.shape[:-1], len(weights))
    return lowering.emit("FULLY_CONNECTED", operands, shape, keep_num_dims=len(source.shape) > 2)


def _added(lowering: Lowering, part: Tensor, state: Tensor | None, weights: Array, bias: Array) -> Tensor:
    """``part`` plus the recurrent projection of ``state``."""
    if state is not None:
        return binary(lowering, "ADD", part, _dense(lowering, state, weights, bias))
    return binary(lowering, "ADD", part, lowering.real("bias", bias)) if bias.any() else part


def _parts(lowering: Lowering, tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """``tensor`` cut along its last axis."""
    made = [Tensor(f"{tensor.name}/{i}", (*tensor.shape[:-1], size), tensor.dtype) for i, size in enumerate(sizes)]
    options = {"num_splits": len(sizes)}
    axis = constant("axis", len(tensor.shape) - 1)
    if len(set(sizes)) == 1:
        lowering.operators.append(Operator("SPLIT", [axis, tensor], list(made), options))
    else:
        lowering.operators.append(Operator("SPLIT_V", [tensor, constant("sizes", sizes), axis], list(made), options))
    return made


def _lstm_step(lowering: Lowering, direction: _Direction, part: Tensor, state: _State) -> _State:
    hidden = direction.hidden
    none = np.zeros(4 * hidden, np.float32)
    gates = _added(lowering, part, state.hidden, direction.recurrent, none)
    openings, candidate = _parts(lowering, gates, (3 * hidden, hidden))
    i, o, f = _parts(lowering, unary(lowering, "LOGISTIC", openings), (hidden,) * 3)
    cell = binary(lowering, "MUL", i, unary(lowering, "TANH", candidate))
    if state.cell is not None:
        cell = binary(lowering, "ADD", binary(lowering, "MUL", f, state.cell), cell)
    return _State(binary(lowering, "MUL", o, unary(lowering, "TANH", cell)), cell)


def _mixed(lowering: Lowering, z: Tensor, n: Tensor, hidden: Tensor | None) -> _State:
    if hidden is None:
        return _State(binary(lowering, "SUB", n, binary(lowering, "MUL", z, n)))
    return _State(binary(lowering, "ADD", n, binary(lowering, "MUL", z, binary(lowering, "SUB", hidden, n))))


def _gru_step_reset_after(lowering: Lowering, direction: _Direction, part: Tensor, state: _State) -> _State:
    hidden, bias = direction.hidden, direction.recurrent_bias
    own, candidate = _parts(lowering, part, (2 * hidden, hidden))
    if state.hidden is None:
        recalled = [lowering.real("bias", bias[: 2 * hidden]), lowering.real("bias", bias[2 * hidden :])]
    else:
        projected = _dense(lowering, state.hidden, direction.recurrent, bias)
        recalled = _parts(lowering, projected, (2 * hidden, hidden))
    gates = unary(lowering, "LOGISTIC", binary(lowering, "ADD", own, recalled[0]))
    z, r = _parts(lowering, gates, (hidden, hidden))
    n = unary(lowering, "TANH", binary(lowering, "ADD", candidate, binary(lowering, "MUL", r, recalled[1])))
    return _mixed(lowering, z, n, state.hidden)


def _gru_step_reset_before(lowering: Lowering, direction: _Direction, part: Tensor, state: _State) -> _State:
    hidden, weights, bias = direction.hidden, direction.recurrent, direction.recurrent_bias
    own, candidate = _parts(lowering, part, (2 * hidden, hidden))
    opened = _added(lowering, own, state.hidden, weights[: 2 * hidden], bias[: 2 * hidden])
    z, r = _parts(lowering, unary(lowering, "LOGISTIC", opened), (hidden, hidden))
    kept = None if state.hidden is None else binary(lowering, "MUL", r, state.hidden)
    n = unary(lowering, "TANH", _added(lowering, candidate, kept, weights[2 * hidden :], bias[2 * hidden :]))
    return _mixed(lowering, z, n, state.hidden)


def _rnn_step(lowering: Lowering, direction: _Direction, part: Tensor, state: _State) -> _State:
    none = np.zeros(direction.hidden, np.float32)
    return _State(unary(lowering, "TANH", _added(lowering, part, state.hidden, direction.recurrent, none)))
