"""Build small networks with random weights, and compare what pruning makes of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgekit.graph import IR_VERSION, OPSET
from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.graph.queries import shape_of
from edgekit.graph.shapes import infer_shapes
from edgekit.graph.storage import to_bytes
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.branches import Branch
from edgekit.passes.prune.groups import ChannelGroups

Array = np.ndarray[Any, Any]


class Builder:
    """A network under construction: every method adds nodes and returns the name of the last one's output."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shapes: dict[str, tuple[int, ...]] = {"x": shape}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Any op; a list of names when there are several ``outputs``."""
        names = [f"{op_type}{len(self.nodes)}" + (f"_{index}" if outputs > 1 else "") for index in range(outputs)]
        node = helper.make_node(op_type, inputs, names, f"n{len(self.nodes)}_{op_type}", **attributes)
        types = {
            **{
                name: helper.make_tensor_type_proto(TensorProto.FLOAT, self.shapes[name])
                for name in inputs
                if name in self.shapes
            },
            **{
                name: helper.make_tensor_type_proto(
                    helper.np_dtype_to_tensor_dtype(self.constants[name].dtype), self.constants[name].shape
                )
                for name in inputs
                if name in self.constants
            },
        }
        data = {name: numpy_helper.from_array(self.constants[name]) for name in inputs if name in self.constants}
        made = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(op_type, OPSET), node, types, data, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        self.nodes.append(node)
        for name in names:
            # ONNX infers nothing for ops that are functions, such as GroupNormalization.
            dims = made[name].tensor_type.shape.dim if name in made else ()
            self.shapes[name] = tuple(dim.dim_value for dim in dims) or self.shapes[inputs[0]]
        return names if outputs > 1 else names[0]

    def constant(self, array: Any) -> str:
        """The name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, dtype=np.int64))

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self.rng.normal(size=shape) * scale).astype(np.float32))

    def uniform(self, *shape: int) -> str:
        """Between 0.5 and 1.5: scales and variances."""
        return self.constant(self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def weight(self, *shape: int) -> str:
        """Scaled so that values neither grow nor vanish; the first axis is the output's."""
        return self.normal(*shape, scale=(1.5 / np.prod(shape[1:])) ** 0.5)

    def conv(
        self, x: str, channels: int, kernel: int = 1, *, group: int = 1, stride: int = 1, bias: bool = True
    ) -> str:
        weight = self.weight(channels, self.shapes[x][1] // group, kernel, kernel)
        inputs = [x, weight, *([self.normal(channels, scale=0.3)] if bias else [])]
        return str(self.op("Conv", *inputs, group=group, strides=[stride] * 2, pads=[kernel // 2] * 4))

    def conv_transpose(self, x: str, channels: int, kernel: int = 2, *, group: int = 1) -> str:
        inputs = self.shapes[x][1]
        weight = self.normal(inputs, channels // group, kernel, kernel, scale=(1.5 * group / inputs) ** 0.5)
        bias = self.normal(channels, scale=0.3)
        return str(self.op("ConvTranspose", x, weight, bias, group=group, strides=[kernel, kernel]))

    def relu(self, x: str) -> str:
        return str(self.op("Relu", x))

    def gemm(self, x: str, features: int) -> str:
        weight = self.weight(features, self.shapes[x][1])
        return str(self.op("Gemm", x, weight, self.normal(features, scale=0.3), transB=1))

    def linear(self, x: str, features: int, *, bias: bool = True) -> str:
        """MatMul over the last axis, and Add."""
        size = self.shapes[x][-1]
        product = self.op("MatMul", x, self.normal(size, features, scale=size**-0.5))
        return str(self.op("Add", product, self.normal(features, scale=0.3)) if bias else product)

    def reshape(self, x: str, *shape: int) -> str:
        return str(self.op("Reshape", x, self.ints(*shape)))

    def batch_norm(self, x: str) -> str:
        size = self.shapes[x][1]
        constants = self.uniform(size), self.normal(size, scale=0.3), self.normal(size, scale=0.3), self.uniform(size)
        return str(self.op("BatchNormalization", x, *constants))

    def squeeze_excite(self, x: str, hidden: int) -> str:
        gate = self.relu(self.conv(self.op("GlobalAveragePool", x), hidden))
        return str(self.op("Mul", x, self.op("Sigmoid", self.conv(gate, self.shapes[x][1]))))

    def shuffle(self, x: str, blocks: int) -> str:
        """ShuffleNet's channel shuffle."""
        batch, channels, height, width = self.shapes[x]
        apart = self.reshape(x, batch, blocks, channels // blocks, height, width)
        return self.reshape(self.op("Transpose", apart, perm=[0, 2, 1, 3, 4]), batch, channels, height, width)

    def attention(self, x: str, heads: int, width: int) -> str:
        """Multi-head self-attention over tokens [batch, tokens, features]."""
        batch, tokens, features = self.shapes[x]
        split = [self.reshape(self.linear(x, heads * width), batch, tokens, heads, width) for _ in range(3)]
        query, value = (self.op("Transpose", split[index], perm=[0, 2, 1, 3]) for index in (0, 2))
        weights = self.op("MatMul", query, self.op("Transpose", split[1], perm=[0, 2, 3, 1]))
        weights = self.op("Softmax", self.op("Mul", weights, self.constant(np.float32(width**-0.5))), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        return self.linear(self.reshape(mixed, batch, tokens, heads * width), features)

    def head(self, x: str, classes: int = 5) -> str:
        """Pooled scores of the classes."""
        return self.gemm(self.op("Flatten", self.op("GlobalAveragePool", x)), classes)

    def model(self, *outputs: str) -> ir.Model:
        """The canonical graph."""
        return canonicalize(self.plain(*outputs))

    def plain(self, *outputs: str) -> ir.Model:
        """The graph as it was built."""
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "network",
            [value("x", TensorProto.FLOAT, self.shapes["x"])],
            [value(name, TensorProto.FLOAT, self.shapes[name]) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(proto)
        return infer_shapes(ir.serde.deserialize_model(proto))


def run(model: ir.Model, seed: int = 0) -> list[Array]:
    """The outputs of onnxruntime for random inputs."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    feeds = {given.name: rng.normal(size=given.shape).astype(np.float32) for given in session.get_inputs()}
    return list(session.run(None, feeds))


def difference(ones: Sequence[Array], others: Sequence[Array]) -> float:
    """The largest over the outputs of the largest difference, relative to the largest number of ``ones``, or NaN."""
    assert [one.shape for one in ones] == [other.shape for other in others]
    found = [np.abs(one - other).max() / max(np.abs(one).max(), 1e-6) for one, other in zip(ones, others, strict=True)]
    # What is no number is so in each output: Python's max would keep the first.
    return float(np.max(found))


def labelled(*values: tuple[str, int, Array]) -> ChannelGroups:
    """Units along axes, as (value, axis, units); groups are not told."""
    axes = {(name, axis): np.asarray(units, dtype=np.intp) for name, axis, units in values}
    return ChannelGroups(axes, 1 + max(int(units.max()) for units in axes.values()), (), ())


def node(model: ir.Model, op_type: str) -> ir.Node:
    """The first of its kind."""
    return next(node for node in model.graph if node.op_type == op_type)


def choose(groups: ChannelGroups, rng: np.random.Generator, share: float) -> Array:
    """[unit_count] of bool: in every group about ``share`` of the units at random, but never all of them."""
    removed = np.zeros(groups.unit_count, dtype=bool)
    for group in groups.groups:
        count = min(int(rng.binomial(len(group.units), share)), len(group.units) - 1)
        removed[rng.choice(group.units, count, replace=False)] = True
    return removed


def without_weights(model: ir.Model, branches: Iterable[Branch]) -> ir.Model:
    """A copy in which the branches are still computed, and zero."""
    zeroed = model.clone()
    for name in (name for branch in branches for name in branch.weights):
        initializer = zeroed.graph.initializers[name]
        array = np.zeros(shape_of(initializer), dtype=np.float32)
        initializer.const_value = ir.Tensor(array, name=name)
    return zeroed


def kept_counts(groups: ChannelGroups, removed: Array) -> dict[str, int]:
    """Units kept by group name."""
    return {group.name: int((~removed[list(group.units)]).sum()) for group in groups.groups}
