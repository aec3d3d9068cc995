"""A traced TensorFlow function as an ONNX file, checked against TensorFlow on one random input."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit.errors import ModelError
from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.importers.conform import refuse_unknown_operators
from edgekit.importers.tensorflow_worker.freeze import frozen_graph
from edgekit.importers.tensorflow_worker.tf2onnx_fixes import operator_handlers, run_tf2onnx

TF2ONNX_OPSET = 18
"""The newest that tf2onnx writes."""

_TOLERANCE = 1e-3
"""Largest difference, relative to the largest value of an output, that float rounding may leave in a deep network."""

_LEAST = 1e-4
"""Outputs below it count as this large: a score of 1e-8 is what each runtime's own exponential makes it."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Inputs (name, dtype, static shape) and output names of a model, in the source's order."""

    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]


def convert_function(function: Callable[..., Sequence[object]], interface: Interface, output: Path) -> None:
    """Trace ``function`` (tensors in, list of tensors out, in the interface's order), write it as ONNX and check it.

    Raises UnsupportedError for TensorFlow operators without an ONNX counterpart, ModelError when the results differ.
    """
    import tensorflow as tf
    import tf2onnx

    specs = [tf.TensorSpec(shape, dtype, f"input_{i:04}") for i, (_, dtype, shape) in enumerate(interface.inputs)]

    def flat(*tensors: object) -> list[object]:
        return [tf.identity(tensor) for tensor in function(*tensors)]

    traced = tf.function(flat, input_signature=specs, autograph=False)
    graph_def, inputs, outputs = frozen_graph(traced.get_concrete_function())
    gc.collect()  # the graphs on the way there hold on to each other, and each to all weights
    proto = run_tf2onnx(
        lambda: tf2onnx.convert.from_graph_def(
            graph_def,
            input_names=inputs,
            output_names=outputs,
            opset=TF2ONNX_OPSET,
            custom_op_handlers=operator_handlers(),
        )[0]
    )
    names = dict(zip(inputs, (name for name, _, _ in interface.inputs), strict=True))
    names |= zip(outputs, interface.outputs, strict=True)
    finish(proto, interface, names, output)
    samples = random_inputs(interface)
    try:
        expected = [np.asarray(value) for value in traced(*samples.values())]
    except tf.errors.UnimplementedError:
        expected = _run_channels_last(graph_def, dict(zip(inputs, samples.values(), strict=True)), outputs)
    check(output, samples, dict(zip(interface.outputs, expected, strict=True)))


def _run_channels_last(graph_def: Any, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
    """Run a graph of channels-first convolutions, which TensorFlow's CPU kernels lack, rewritten to channels-last."""
    import tensorflow as tf
    from tensorflow.core.protobuf import rewriter_config_pb2

    v1 = tf.compat.v1
    config = v1.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.cpu_layout_conversion = rewriter_config_pb2.RewriterConfig.NCHW_TO_NHWC
    rewrites.min_graph_nodes = -1
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with v1.Session(graph=graph, config=config) as session:
        results: list[np.ndarray] = session.run(list(outputs), dict(feeds))
    return results


def finish(proto: onnx.ModelProto, interface: Interface, names: Mapping[str, str], output: Path) -> None:
    """Rename the inputs and outputs of ``proto`` from tf2onnx's ``names`` to the source's and write it."""
    refuse_unknown_operators(proto)
    _rename_values(proto.graph, names)
    _order_interface(proto.graph, interface)
    onnx.save(proto, output)


def random_inputs(interface: Interface) -> dict[str, np.ndarray]:
    """One seeded sample: floats uniform in [0, 1), integers 0 or 1 (valid as an index of nearly anything)."""
    random = np.random.default_rng(0)
    samples = {}
    for name, dtype, shape in interface.inputs:
        floating = np.issubdtype(np.dtype(dtype), np.floating)
        values = random.random(shape) if floating else random.integers(0, 2, shape)
        samples[name] = np.asarray(values).astype(dtype)
    return samples


def check(path: Path, samples: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Run the ONNX file on ``samples``. Raises ModelError when an output is not what the source model computes."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # As the file says: its optimizations merge a Pad with the MaxPool behind it (edgekit.graph.pads).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    used = {value.name for value in session.get_inputs()}
    outputs = session.run(list(expected), {name: value for name, value in samples.items() if name in used})
    for (name, want), got in zip(expected.items(), outputs, strict=True):
        if want.shape != got.shape:
            raise ModelError(f'the conversion changed output "{name}" from shape {want.shape} to {got.shape}')
        error = _relative_error(want.astype(np.float64), got.astype(np.float64))
        if not error <= _TOLERANCE:
            raise ModelError(
                f'the conversion changed output "{name}": it differs by {error:.2g} of its largest value on a random '
                "input; the model may be random at inference, or uses an operator that tf2onnx converts wrongly"
            )


def _relative_error(want: np.ndarray, got: np.ndarray) -> float:
    same = (want == got) | (np.isnan(want) & np.isnan(got))
    if same.all():
        return 0.0
    finite = want[np.isfinite(want)]
    largest = max(float(np.abs(finite).max()) if finite.size else 0.0, _LEAST)
    return float(np.where(same, 0.0, np.abs(want - got)).max()) / largest


def _rename_values(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename, moving aside any inner value that has one of the new names already."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - set(names)
    renamed = {name: f"{name}__inner" for name in set(names.values()) & taken} | dict(names)
    for nested in _graphs(graph):
        for value in (*nested.input, *nested.output, *nested.value_info, *nested.initializer):
            value.name = renamed.get(value.name, value.name)
        for node in nested.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    from edgekit.importers.skeleton import subgraphs

    return list(subgraphs(graph))


def _order_interface(graph: onnx.GraphProto, interface: Interface) -> None:
    """Inputs and outputs in the source's order; an input that no node reads stays an input."""
    present = {value.name: value for value in graph.input}
    inputs = []
    for name, dtype, shape in interface.inputs:
        elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        inputs.append(present.get(name) or onnx.helper.make_tensor_value_info(name, elem_type, shape))
    outputs = sorted(graph.output, key=lambda value: interface.outputs.index(value.name))
    del graph.input[:], graph.output[:]
    graph.input.extend(inputs)
    graph.output.extend(outputs)
