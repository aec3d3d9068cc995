"""The integers of an ``.mnn`` file: MNN's compression parameters, and the scales of its tensors.

MNN's converter quantizes convolutions only, and gives scales to their inputs and outputs only. MNN runs every operation
in int8 that has such a kernel and whose tensors all have scales, so edgekit adds those of the other tensors itself.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import fused_activation, static_shape
from edgekit.exporters.mnn.strip import ActivationQuantization, FloatGraph
from edgekit.runtimes.mnn_file import NET_TENSOR_DESCRIBE, MnnFile, Operation

_CONVOLUTIONS = ("Convolution", "ConvolutionDepthwise")
_LOWEST, _HIGHEST = -128, 127
_INT8 = 6  # DataType_DT_INT8

# Where a TensorDescribe {index 1, quantInfo 4} and a TensorQuantInfo {scale 0, zero 1, min 2, max 3, type 4} keep them.
_DESCRIBE_VTABLE = struct.pack("<7H2x", 14, 12, 0, 4, 0, 0, 8)
_QUANT_INFO_VTABLE = struct.pack("<7H2x", 14, 24, 4, 8, 12, 16, 20)


def quantized_convolutions(file: MnnFile, graph: FloatGraph) -> Iterator[tuple[Operation, ir.Node]]:
    """The operations of a converted float file that get integer weights, each with the node that it came from."""
    nodes = {node.outputs[0].name: node for node in graph.model.graph if node.op_type == "Conv"}
    for operation in file.operations:
        node = nodes.get(operation.name)
        if operation.type_name in _CONVOLUTIONS and node is not None and _weight_name(node) in graph.weights:
            yield operation, node


def compression_parameters(file: MnnFile, graph: FloatGraph) -> str | None:
    """MNN's compressionParamsFile (JSON) for the float file that ``graph`` became; None when nothing is quantized."""
    layers = []
    for operation, node in quantized_convolutions(file, graph):
        quantized, produced = node.inputs[0], _activated(node)
        assert quantized is not None and node.inputs[1] is not None
        weight = node.inputs[1]
        units = static_shape(weight)[0]
        scales = np.broadcast_to(graph.weights[weight.name or ""], (units,))
        layers.append(
            {
                "input": [_activation(file, operation.inputs[0], graph, quantized)],
                "output": [_activation(file, operation.outputs[0], graph, produced)],
                "weight": [_parameters(weight.name or "", [float(scale) for scale in scales], 0, -127)],
                "method": 0,
            }
        )
    if not layers:
        return None
    algorithm = {"type": 0, "quant_params": {"round_mode": 1, "layer": layers}}
    return json.dumps({"version": "0.0.0", "algo": [algorithm]})


def describe_tensors(content: bytes, path: Path, graph: FloatGraph) -> bytes:
    """``content`` with the scales of every tensor that ``graph`` gives some to, and of no other.

    The new vector is appended and the one field that points to it changed: offsets in a flatbuffer only point forward.
    """
    file = MnnFile(content, path)
    field = file.field(file.root, NET_TENSOR_DESCRIBE)
    if not field:
        return content
    tensors = _described_tensors(file, graph)
    patched = bytearray(content)
    patched.extend(bytes(-len(patched) % 8))
    start = len(patched)
    patched.extend(_tensor_describes(tensors, start))
    vector = start + len(_DESCRIBE_VTABLE) + len(_QUANT_INFO_VTABLE)
    struct.pack_into("<I", patched, field, vector - field)
    return bytes(patched)


def _described_tensors(file: MnnFile, graph: FloatGraph) -> dict[int, ActivationQuantization]:
    if not graph.static:
        return {}
    tensors = {
        index: graph.activations[name] for index, name in enumerate(file.tensor_names) if name in graph.activations
    }
    # The converter adds tensors of other layouts around convolutions, under names of its own.
    for operation, node in quantized_convolutions(file, graph):
        for index, value in ((operation.inputs[0], node.inputs[0]), (operation.outputs[0], _activated(node))):
            if value is not None and value.name in graph.activations:
                tensors[index] = graph.activations[value.name]
    return tensors


def _tensor_describes(tensors: Mapping[int, ActivationQuantization], start: int) -> bytes:
    block = bytearray(_DESCRIBE_VTABLE + _QUANT_INFO_VTABLE)
    vector = len(block)
    block.extend(struct.pack("<I", len(tensors)) + bytes(4 * len(tensors)))
    for number, (index, quantization) in enumerate(sorted(tensors.items())):
        slot, table = vector + 4 + 4 * number, len(block)
        struct.pack_into("<I", block, slot, table - slot)
        # soffset to the vtable, index, offset to the quantInfo right behind this table
        block.extend(struct.pack("<iiI", table, index, 4))
        info = len(block)
        numbers = quantization.scale, quantization.zero_point, _LOWEST, _HIGHEST
        block.extend(struct.pack("<iffffi", info - len(_DESCRIBE_VTABLE), *numbers, _INT8))
    return bytes(block)


def _weight_name(node: ir.Node) -> str:
    weight = node.inputs[1]
    return (weight.name or "") if weight is not None else ""


def _activated(node: ir.Node) -> ir.Value:
    # MNN computes a Relu or Relu6 inside the convolution; its output carries the scales then.
    activation = fused_activation(node.outputs[0])
    return activation.outputs[0] if activation is not None else node.outputs[0]


def _activation(file: MnnFile, tensor: int, graph: FloatGraph, value: ir.Value) -> dict[str, Any]:
    name = file.tensor_names[tensor]
    quantization = graph.activations.get(value.name or "", ActivationQuantization(1.0, 0))
    return _parameters(name, [quantization.scale], quantization.zero_point, _LOWEST)


def _parameters(name: str, scales: list[float], zero_point: int, lowest: int) -> dict[str, Any]:
    return {
        "name": name,
        "bits": 8,
        "scales": scales,
        "zero_point": zero_point,
        "clamp_min": lowest,
        "clamp_max": _HIGHEST,
    }
