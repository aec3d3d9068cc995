"""Small ONNX graphs, what onnxruntime makes of them, and what the exported file makes of them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgekit.exporters import ExportedInterface, ExportOptions
from edgekit.exporters.tflite import TFLiteExporter
from edgekit.graph import OPSET
from edgekit.interface import Precision
from tests.exporters.tflite import interpreter

FLOAT = ExportOptions(Precision.FP32)
INT8 = ExportOptions(Precision.INT8)


class Builder:
    """Collects nodes and constants; ``model`` runs shape inference so that every value has a static shape."""

    def __init__(self, prefix: str = "v") -> None:
        self.prefix = prefix
        self.nodes, self.initializers, self.inputs = [], [], []

    def input(self, name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array, name: str | None = None) -> str:
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op_type: str, inputs, outputs: int | str = 1, **attributes) -> str:
        index = len(self.nodes)
        names = [outputs] if isinstance(outputs, str) else [f"{self.prefix}{index}_{i}" for i in range(outputs)]
        names_in = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(helper.make_node(op_type, names_in, names, name=f"{op_type}_{index}", **attributes))
        return names[0] if len(names) == 1 else names

    def model(self, *outputs: str) -> onnx.ModelProto:
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "test", self.inputs, infos, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        known = {
            v.name for v in (*inferred.graph.value_info, *inferred.graph.output) if v.type.tensor_type.HasField("shape")
        }
        missing = [name for node in self.nodes for name in node.output if name not in known]
        return _with_measured_shapes(inferred, missing) if missing else inferred


def _with_measured_shapes(model: onnx.ModelProto, missing: list[str]) -> onnx.ModelProto:
    """Shapes that shape inference does not know, from onnxruntime."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    outputs = [output.name for output in probe.graph.output]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in missing if n not in outputs)
    for name, array in reference(probe, random_feeds(probe)).items():
        if name in missing:
            info = helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for index, output in enumerate(model.graph.output):
                if output.name == name:
                    model.graph.output[index].CopyFrom(info)
            if name not in outputs:
                model.graph.value_info.append(info)
    return model


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """onnxruntime's outputs, with its graph optimizations off."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def random_feeds(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal floats, small integers, coin-toss booleans."""
    generator = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if dtype == np.bool_:
            feeds[value.name] = generator.random(shape) < 0.5
        elif np.issubdtype(dtype, np.integer):
            feeds[value.name] = generator.integers(0, 3, shape).astype(dtype)
        else:
            feeds[value.name] = generator.standard_normal(shape).astype(dtype)
    return feeds


@dataclass
class Exported:
    data: bytes
    interface: ExportedInterface

    def file(self):
        from ai_edge_litert import schema_py_generated as schema

        return schema.ModelT.InitFromPackedBuf(self.data, 0)

    def ops(self) -> Counter:
        from ai_edge_litert import schema_py_generated as schema

        names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        file = self.file()
        return Counter(names[file.operatorCodes[op.opcodeIndex].builtinCode] for op in file.subgraphs[0].operators)

    def run(self, feeds: dict[str, np.ndarray], *, plain: bool = False) -> dict[str, np.ndarray]:
        """Feed source-layout arrays; get source-layout arrays back."""
        moved = {
            spec.name: feeds[spec.name].transpose(spec.permutation) if spec.permutation else feeds[spec.name]
            for spec in self.interface.inputs
        }
        results = interpreter.run(self.data, moved, plain=plain)
        for spec in self.interface.outputs:
            if spec.permutation:
                results[spec.name] = results[spec.name].transpose(np.argsort(spec.permutation))
        return results


def export(model: onnx.ModelProto, options: ExportOptions = FLOAT) -> Exported:
    graph = ir.from_proto(model)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        interface = TFLiteExporter().export(graph, options, path)
        return Exported(path.read_bytes(), interface)


def check(
    model: onnx.ModelProto,
    options: ExportOptions = FLOAT,
    *,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    plain: bool = False,
) -> Exported:
    """Export, run both, compare: shapes exactly, numbers within the tolerances."""
    exported = export(model, options)
    feeds = random_feeds(model)
    wanted, got = reference(model, feeds), exported.run(feeds, plain=plain)
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        assert got[name].shape == array.shape
        assert got[name].dtype == array.dtype
        np.testing.assert_allclose(got[name], array, atol=atol, rtol=rtol, err_msg=name)
    return exported
