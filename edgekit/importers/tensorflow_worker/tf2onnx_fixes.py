"""What tf2onnx lacks or does badly, put right in this process only."""

import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx


def run_tf2onnx(convert: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    """Call ``convert`` without tf2onnx's safety copy of the whole model before each of its two dozen optimizations.

    The copies cost a ResNet-50 most of the import. When an optimization does fail, call it again with them.
    """
    _order_sets_by_age()
    _keep_constants()
    _freeze_once()
    _accept_scalar_addends()
    os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
    try:
        return convert()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        del os.environ["TF2ONNX_CATCH_ERRORS"]
        return convert()


def _order_sets_by_age() -> None:
    """Number nodes in order of use, where it goes by their addresses in memory: two imports must give identical bytes.

    It walks sets of nodes, which Python orders by hash, and numbers what it makes on the way; its decomposition of
    Einsum writes ``id`` of its parts into names.
    """
    from tf2onnx.graph import Node
    from tf2onnx.optimizer import einsum_optimizer

    ages = itertools.count()
    Node.__hash__ = lambda node: node.__dict__.setdefault("age", next(ages))
    known: dict[int, tuple[int, object]] = {}  # holds on to the objects: the address of a dead one is used again
    einsum_optimizer.id = lambda item: known.setdefault(id(item), (len(known), item))[0]


def _keep_constants() -> None:
    """Write a constant into its protobuf only when it has changed, instead of after each optimization.

    What protobuf replaces inside a message it frees with the message: thirty copies of all weights were left behind.
    """
    from tf2onnx.graph import Node

    original = Node.update_proto

    def update_proto(self: Any, external_tensor_storage: Any = None) -> None:
        wanted, held = self.get_onnx_attrs(), self.op.attribute
        same = len(held) == len(wanted) and all(wanted.get(each.name) is each for each in held)
        if self.is_const() and same and external_tensor_storage is None:
            del self.op.output[:]
            self.op.output.extend(self.output)
            return
        original(self, external_tensor_storage)
        if self.is_const() and external_tensor_storage is None:
            self.attr.update((each.name, each) for each in self.op.attribute)

    Node.update_proto = update_proto


def _freeze_once() -> None:
    """Leave what is frozen as it is: `from_graph_def` freezes it again, and throws away what came of it."""
    from tf2onnx import tf_loader

    tf_loader.freeze_session = lambda session, **names: None


def _accept_scalar_addends() -> None:
    """Let its Transpose optimizer pass an Add of a scalar after a convolution, where it fails and gives up."""
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    original = TransposeOptimizer._add_handler

    def add_handler(self: Any, transpose: Any, node: Any) -> Any:
        addend = node.inputs[1]
        if addend.is_const() and addend.get_tensor_value(as_list=False).ndim == 0:
            return self._handle_node_having_branches(transpose, node)
        return original(self, transpose, node)

    TransposeOptimizer._add_handler = add_handler


def operator_handlers() -> dict[str, tuple[Any, list[Any]]]:
    """tf2onnx's ``custom_op_handlers`` for the operators that it lacks."""
    return {"Erfc": (_convert_erfc, []), "Expm1": (_convert_expm1, [])}


def _convert_expm1(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """``exp(x) - 1``; the rounding that ``expm1`` avoids near 0 is far below what the tools after this see."""
    del args
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
    exp = graph.make_node("Exp", [node.input[0]], name=f"{name}/exp", shapes=shapes, dtypes=dtypes)
    one = graph.make_const(f"{name}/one", np.array(1, np.float32))
    graph.remove_node(node.name)
    graph.make_node("Sub", [exp.output[0], one.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)


def _convert_erfc(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """``erfc(x)`` as ``erf(-x) + 1``, the form that is recognized as part of a GELU.

    Given: ``Erfc(Mul(Neg(x), c))``, as Keras writes GELU, or ``Erfc(x)``
    Result: ``Add(Erf(Mul(x, c)), 1)``, or ``Add(Erf(Neg(x)), 1)``
    """
    del args
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
    negated = _negated(graph, node)
    erf = graph.make_node("Erf", [negated], name=f"{name}/erf", shapes=shapes, dtypes=dtypes)
    one = graph.make_const(f"{name}/one", np.array(1, np.float32))
    graph.remove_node(node.name)
    graph.make_node("Add", [erf.output[0], one.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)


def _negated(graph: Any, node: Any) -> str:
    """The name of a value equal to minus the input of ``node``."""
    scaled = node.inputs[0]
    shapes, dtypes = node.output_shapes, node.output_dtypes
    if scaled.type == "Mul":
        for side, other in ((0, 1), (1, 0)):
            if scaled.inputs[side].type == "Neg":
                operands = [scaled.inputs[side].input[0], scaled.input[other]]
                product = graph.make_node("Mul", operands, name=f"{node.name}/scaled", shapes=shapes, dtypes=dtypes)
                return str(product.output[0])
    negated = graph.make_node("Neg", [node.input[0]], name=f"{node.name}/negated", shapes=shapes, dtypes=dtypes)
    return str(negated.output[0])
