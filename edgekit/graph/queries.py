"""Questions about values and nodes that every pass and exporter asks."""

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.errors import ModelError
from edgekit.graph import OPSET


def constant_value(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The array of an initializer or of a Constant node's output; None for everything that depends on the inputs."""
    if value is None or (value.is_graph_input() and not value.is_initializer()):
        return None
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.dtype == ir.DataType.STRING:
        return None
    return np.asarray(tensor.numpy())


def constant_scalar(value: ir.Value | None) -> float | None:
    """The number in a constant of exactly one element, whatever its rank; else None."""
    if value is None or not is_constant(value):
        return None
    shape = static_shape(value)
    if shape is not None and np.prod(shape, dtype=np.int64) != 1:
        return None
    array = constant_value(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def is_constant(value: ir.Value | None) -> bool:
    """Whether ``constant_value`` would give an array; does not touch the data."""
    if value is None:
        return False
    producer = value.producer()
    return value.const_value is not None or (producer is not None and producer.op_type == "Constant")


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape as numbers, or None when the rank or one dimension is unknown."""
    if value is None or value.shape is None:
        return None
    dims = value.shape.dims
    return tuple(dims) if all(isinstance(dim, int) for dim in dims) else None  # type: ignore[arg-type]


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape; raises ``ModelError`` that names the value when there is none."""
    shape = static_shape(value)
    if shape is None:
        raise ModelError(
            f"value {value.name!r} has no static shape; give the inputs fixed shapes (--input-shape NAME=...)"
        )
    return shape


def is_floating(value: ir.Value | None) -> bool:
    """Whether the value is known to carry floating-point numbers."""
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def single_consumer(value: ir.Value) -> ir.Node | None:
    """The only node that reads ``value`` (once); None when there are more, none, or when it is a graph output."""
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    return next(iter(uses)).node


def produced_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that computes ``value`` when it is of one of the default-domain ``op_types``; else None."""
    node = None if value is None else value.producer()
    return node if node is not None and is_op(node, *op_types) else None


def is_op(node: ir.Node, *op_types: str) -> bool:
    """Whether ``node`` is one of these default-domain ops."""
    return node.domain in ("", "ai.onnx") and node.op_type in op_types


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """The input at ``index``, or None when it is omitted (by an empty name or by being left out)."""
    return node.inputs[index] if index < len(node.inputs) else None


@lru_cache(maxsize=4096)
def _default(op_type: str, domain: str, name: str) -> Any:
    schema = onnx.defs.get_schema(op_type, OPSET, domain)
    attribute = schema.attributes.get(name)
    if attribute is None or not attribute.default_value.type:
        return None
    default = onnx.helper.get_attribute_value(attribute.default_value)
    return default.decode() if isinstance(default, bytes) else default


def attribute(node: ir.Node, name: str) -> Any:
    """The attribute as Python numbers, strings or lists; when absent the ONNX default, or None."""
    given = node.attributes.get(name)
    if given is None:
        return _default(node.op_type, node.domain, name)
    return list(given.value) if isinstance(given.value, tuple | list) else given.value
