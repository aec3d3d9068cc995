"""What a SavedModel may contain, checked before TensorFlow loads it: its functions run while it is read."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from edgekit.errors import ModelError, UnsupportedError

_UNSAFE = re.compile(
    "^_|Dataset|Reader|Iterator|Debug|File|Summary|ImmutableConst|InitializeTable$|InitializeTableFrom|PyFunc|Xla|TPU|Tpu"
    "|Queue|Barrier|Host|Mlir|Custom|Vocab|Prelinearize|Copy|Abort|DTensor|Launch|Session|Symbolic|Save"
)
"""Operators that TensorFlow declares stateless although they touch files, the network, Python or the process."""

_STATE = re.compile(
    "VarHandleOp|ReadVariableOp|Assign(Add|Sub)?VariableOp|VarIsInitializedOp|VariableShape|Variable(V2)?|TemporaryVariable"
    "|Resource(Gather|GatherNd|StridedSliceAssign|Scatter.*|Apply.*|SparseApply.*)|DisableCopyOnRead|DestroyResourceOp"
    "|StatefulPartitionedCall|If|While|Case|Assert|CheckNumerics(V2)?|Empty|GuaranteeConst|DeepCopy|DeviceIndex"
    "|IsTensorFloat32Enabled|IsResourceHandleRefCounting|MakeWeakResourceHandle|CudnnRNN.*"
    "|Random(Uniform|UniformInt|StandardNormal|Shuffle|Gamma|Poisson|PoissonV2|Crop)|(Parameterized)?TruncatedNormal"
    "|Multinomial|Stateful(Uniform|UniformInt|UniformFullInt|StandardNormal|StandardNormalV2|TruncatedNormal|RandomBinomial)"
    "|StatelessRandomGetAlg|RngSkip|RngReadAndSkip|NonDeterministicInts"
    "|TensorArray(Grad|Write|Read|Gather|Scatter|Concat|Split|Size|Close)?V3|Stack(Push|Pop|Close)?V2"
    "|(Mutable)?HashTable(V2)?|AnonymousHashTable|LookupTable(Find|Size|Export|Import|Insert)V2|InitializeTableV2"
)
"""Stateful operators that change nothing outside of the model: variables, control flow, randomness, lookups."""

_RESTORE = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
_SAVE = frozenset({"Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints", "ShardedFilename", "ShardedFilespec"})
"""Every SavedModel can save and restore itself; nothing that edgekit runs may lead there."""

_INIT = ("saved_model_main_op", "legacy_init_op", "saved_model_initializers", "table_initializer")


def refuse_unsafe(meta_graph: Any, object_functions: Iterable[str]) -> None:
    """Check every operator of a MetaGraphDef and of its functions; executes nothing.

    ``object_functions`` are the functions that the loader may call for the objects it rebuilds. Raises ModelError for
    an operator that touches more than the model's own tensors, UnsupportedError for one that TensorFlow does not know.
    """
    graph = _Graph(meta_graph.graph_def)
    for node in graph.all_nodes():
        _check(node, graph)
    signatures = meta_graph.signature_def.values()
    started = [info.name for signature in signatures for info in signature.outputs.values()]
    for name in _INIT:
        started += meta_graph.collection_def[name].node_list.value if name in meta_graph.collection_def else []
    for node in graph.reached(started, object_functions):
        if node.op in _SAVE - {"ShardedFilename"} or node.op in _RESTORE:
            raise _refusal(node)
    restored = [meta_graph.saver_def.restore_op_name] if meta_graph.saver_def.restore_op_name else []
    for node in graph.reached(restored, ()):
        if node.op in _SAVE - {"ShardedFilename"}:
            raise _refusal(node)


def _check(node: Any, graph: "_Graph") -> None:
    from tensorflow.python.framework import op_def_registry

    if node.op in _SAVE or node.op in _RESTORE or node.op in graph.functions:
        return
    definition = op_def_registry.get(node.op)
    if definition is None:
        raise UnsupportedError(
            f"node {node.name!r} is a {node.op}, an operator that TensorFlow does not have; export the model without it"
        )
    if _STATE.fullmatch(node.op) or not (definition.is_stateful or _UNSAFE.search(node.op)):
        return
    raise _refusal(node)


def _refusal(node: Any) -> ModelError:
    return ModelError(
        f"node {node.name!r} is a {node.op}, which may touch files, the network or the process; edgekit does not run "
        "it: export the model without it"
    )


class _Graph:
    """A GraphDef with its functions, and what of it runs when something is started."""

    def __init__(self, graph_def: Any) -> None:
        self._nodes = {node.name: node for node in graph_def.node}
        self.functions = {function.signature.name: function for function in graph_def.library.function}

    def all_nodes(self) -> Iterator[Any]:
        """Every node of the graph and of all functions."""
        yield from self._nodes.values()
        for function in self.functions.values():
            yield from function.node_def

    def reached(self, tensors: Iterable[str], functions: Iterable[str]) -> Iterator[Any]:
        """Every node that ``tensors`` (or operators) need or that ``functions`` hold, through all that they call."""
        waiting = deque(self._nodes[name] for name in map(_node_name, tensors) if name in self._nodes)
        called, seen = deque(functions), {node.name for node in waiting}
        entered: set[str] = set()
        while waiting or called:
            if waiting:
                node = waiting.popleft()
                yield node
                called.extend(_calls(node))
                new = {name for name in map(_node_name, node.input) if name in self._nodes} - seen
                seen |= new
                waiting.extend(self._nodes[name] for name in sorted(new))
                continue
            name = called.popleft()
            if name in entered or name not in self.functions:
                continue
            entered.add(name)
            for node in self.functions[name].node_def:
                yield node
                called.extend(_calls(node))


def _node_name(reference: str) -> str:
    return reference.removeprefix("^").partition(":")[0]


def _calls(node: Any) -> Iterator[str]:
    """The functions that a node may call, by attribute or by being called like its operator."""
    yield node.op
    for attribute in node.attr.values():
        if attribute.func.name:
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)
