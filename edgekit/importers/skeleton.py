"""A model without its weights, for the ONNX C++ tools, which copy whatever they are given.

The large tensors are set aside (not copied) and stand in the graph as inputs, so that types and shapes stay known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from edgekit.errors import ModelError
from edgekit.importers.external_data import load_tensor

_LARGE_BYTES = 1024
"""Tensors above this are weights. Smaller ones may be shapes, axes or scales, whose values the ONNX tools must see."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """``proto`` lacks the tensors in ``weights`` (by value name), and has an input in place of each."""

    proto: onnx.ModelProto
    weights: dict[str, ir.TensorProtocol]


def strip_weights(proto: onnx.ModelProto, folder: Path) -> Skeleton:
    """Set the large tensors of ``proto`` (which is changed) aside. ``folder`` is where external data may lie."""
    graph = proto.graph
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError(f'sparse initializer "{name}": edgekit wants dense weights; export the model without sparsity')
    tensors = [*graph.initializer, *_pop_constants(graph)]
    _drop_overridable_inputs(graph, tensors)
    del graph.initializer[:]
    weights: dict[str, ir.TensorProtocol] = {}
    for tensor in tensors:
        loaded = _load(tensor, folder)
        if tensor.data_type != onnx.TensorProto.STRING and loaded.nbytes > _LARGE_BYTES:
            weights[tensor.name] = loaded
            shape = [int(dim) for dim in tensor.dims]
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
        else:
            graph.initializer.append(ir.serde.serialize_tensor(loaded) if tensor.external_data else tensor)
    _inline_subgraph_data(graph, folder)
    return Skeleton(proto, weights)


def attach_weights(skeleton: Skeleton) -> ir.Model:
    """The whole model again."""
    model = ir.from_proto(skeleton.proto)
    graph = model.graph
    stubs = [value for value in graph.inputs if value.name in skeleton.weights]
    for value in stubs:
        graph.inputs.remove(value)
        assert value.name is not None
        value.const_value = skeleton.weights[value.name]
        graph.register_initializer(value)
    return model


def subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and every graph nested in its nodes' attributes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from subgraphs(attribute.g)
            for nested in attribute.graphs:
                yield from subgraphs(nested)


def _load(tensor: onnx.TensorProto, folder: Path) -> ir.TensorProtocol:
    if tensor.data_type not in ir.DataType._value2member_map_ or tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(f'tensor "{tensor.name}" has the unknown data type {tensor.data_type}; the file is damaged')
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f'tensor "{tensor.name}" has shape {list(tensor.dims)}; the file is damaged')
    loaded = load_tensor(tensor, folder)
    _check_size(tensor, loaded)
    return loaded


def _check_size(tensor: onnx.TensorProto, loaded: ir.TensorProtocol) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type == onnx.TensorProto.STRING:
        return
    if ir.DataType(tensor.data_type).bitwidth < 8 and not tensor.HasField("raw_data"):
        return  # several elements per entry; numpy checks these
    if tensor.HasField("raw_data"):
        found, wanted = len(tensor.raw_data), loaded.nbytes
    else:
        found, wanted = _typed_elements(tensor), loaded.size
    if found != wanted:
        unit = "bytes" if tensor.HasField("raw_data") else "elements"
        raise ModelError(f'tensor "{tensor.name}" holds {found} {unit}; its shape needs {wanted}: the file is damaged')


def _typed_elements(tensor: onnx.TensorProto) -> int:
    length = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
    return length // 2 if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128) else length


def _pop_constants(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Take the Constant nodes that hold a tensor out of ``graph``; each tensor gets the name of the node's output."""
    tensors = []
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        attributes = node.attribute
        if node.op_type != "Constant" or len(attributes) != 1 or attributes[0].type != onnx.AttributeProto.TENSOR:
            continue
        if attributes[0].name != "value" or len(node.output) != 1:
            continue
        tensor = attributes[0].t
        tensor.name = node.output[0]
        tensors.append(tensor)
        del graph.node[index]
    return tensors[::-1]


def _drop_overridable_inputs(graph: onnx.GraphProto, tensors: Sequence[onnx.TensorProto]) -> None:
    """Initializers are constants here; before IR version 4 every one of them was listed as an input too."""
    constants = {tensor.name for tensor in tensors}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) < len(graph.input):
        del graph.input[:]
        graph.input.extend(inputs)


def _inline_subgraph_data(graph: onnx.GraphProto, folder: Path) -> None:
    for nested in subgraphs(graph):
        for tensor in nested.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                tensor.CopyFrom(ir.serde.serialize_tensor(_load(tensor, folder)))
