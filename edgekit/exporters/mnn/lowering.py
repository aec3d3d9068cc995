"""The float graph as MNN wants it: one rewrite per operator that MNN's converter or its int8 kernels get wrong.

Measured with MNN 3.6.1 against onnxruntime; ``tests/exporters/mnn/test_operators.py`` repeats it. To teach edgekit
another rewrite, add a function and its row here; what has no correct form in MNN gets a row in ``unsupported.py``.
"""

from collections.abc import Callable

import onnx_ir as ir

from edgekit.exporters.mnn import convolutions, decompositions, int8_kernels, recurrent, resizing
from edgekit.exporters.mnn.editor import GraphEditor, static_shape
from edgekit.exporters.mnn.strip import FloatGraph

_RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})

Rewrite = Callable[[GraphEditor, FloatGraph, ir.Node], None]

# Decompositions come first: they leave operators that the later ones know.
_REWRITES: tuple[dict[str, Rewrite], ...] = (
    {
        "Cast": decompositions.cast_to_bool,
        "Gelu": decompositions.gelu,
        "Gemm": decompositions.general_gemm,
        "GRU": recurrent.recurrent,
        "GroupNormalization": decompositions.group_normalization,
        "LSTM": recurrent.recurrent,
        "Less": decompositions.less,
        "LogSoftmax": decompositions.log_softmax,
        "Mean": decompositions.mean,
        "Mish": decompositions.mish,
        "Pad": decompositions.pad,
        "RNN": recurrent.recurrent,
        "ReduceL1": decompositions.reduction,
        "ReduceL2": decompositions.reduction,
        "ReduceLogSum": decompositions.reduction,
        "ReduceLogSumExp": decompositions.reduction,
        "ReduceSumSquare": decompositions.reduction,
        "Resize": resizing.resize,
        "Split": decompositions.split,
    },
    {
        "Conv": convolutions.two_dimensional,
        "ConvTranspose": convolutions.two_dimensional,
        "Gemm": convolutions.dense,
        "MatMul": convolutions.dense,
    },
    {"Conv": convolutions.ungroup},
)

_INT8_REWRITES: tuple[dict[str, Rewrite], ...] = (
    {
        "Abs": int8_kernels.in_float,
        "AveragePool": int8_kernels.average_pool,
        "Clip": int8_kernels.rectify,
        "GlobalAveragePool": int8_kernels.reduce_globally,
        "GlobalMaxPool": int8_kernels.reduce_globally,
        "Max": int8_kernels.in_float,
        "MaxPool": int8_kernels.pool_in_float,
        "Min": int8_kernels.in_float,
        "Relu": int8_kernels.rectify,
        "Sign": int8_kernels.in_float,
    },
    # Behind all that make convolutions.
    {"Conv": int8_kernels.depthwise},
    {"Conv": int8_kernels.even_blocks},
)


def lower(stripped: FloatGraph) -> None:
    """Rewrite ``stripped`` in place. Outputs stay equal within float rounding, and the interface keeps its names."""
    editor = GraphEditor(stripped.model.graph)
    passes = (*_REWRITES, *_INT8_REWRITES) if stripped.static else _REWRITES
    for rewrites in passes:
        for node in list(editor.graph):
            if node.domain in ("", "ai.onnx") and node.op_type in rewrites and node.graph is not None:
                rewrites[node.op_type](editor, stripped, node)
    _separate_outputs(editor, stripped)
    editor.drop_unused()


def _separate_outputs(editor: GraphEditor, stripped: FloatGraph) -> None:
    """An own Reshape for those who read an output inside: MNN moves theirs behind them, and the output with it."""
    for output in tuple(editor.graph.outputs):
        node = output.producer()
        if node is None or node.op_type not in _RESHAPES or not output.uses() or not static_shape(output):
            continue
        # Written differently, or MNN's converter finds that the two are equal.
        shape = static_shape(output)
        sizes = editor.integers((-1, *shape[1:]), f"{output.name}_inside_shape")
        own = editor.node(node, "Reshape", [node.inputs[0], sizes], shape=shape, name=f"{output.name}_inside")
        own.type = output.type
        stripped.inherit(own, output)
        for use in tuple(output.uses()):
            use.node.replace_input_with(use.idx, own)
