import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.graph import OPSET
from edgekit.graph.cost import count_macs, count_parameters, op_counts
from edgekit.graph.shapes import infer_shapes
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.canonicalize.check import violations
from tests.passes.canonicalize.rewriting import assert_same, build, noise


def test_efficientnet_lite1_ends_as_its_layers(shared: Path) -> None:
    proto = onnx.version_converter.convert_version(onnx.load(shared / "models" / "efficientnet_lite1.onnx"), OPSET)
    model = ir.from_proto(proto)
    image = model.graph.inputs[0]
    image.shape = ir.Shape([1, *list(image.shape)[1:]])
    infer_shapes(model)
    after = canonicalize(model)
    assert violations(after) == []
    assert op_counts(after) == {"Conv": 64, "Clip": 43, "Add": 14, "Gemm": 1, "GlobalAveragePool": 1, "Reshape": 1}
    assert count_macs(after) == count_macs(model)
    assert (
        count_parameters(after)
        == sum(v.const_value.size for v in after.graph.initializers.values() if len(v.shape) in (1, 2, 4)) - 2
    )
    assert_same(model, after)


def test_thousands_of_nodes_take_seconds() -> None:
    # Doubling the nodes may not quadruple the time; the bound is generous for a busy machine.
    seconds = []
    for blocks in (150, 600):
        lines = ["v0 = Relu(x)"]
        for i in range(blocks):
            lines += [
                f"a{i} = Conv(v{i}, w)",
                f"b{i} = Mul(a{i}, k)",
                f"c{i} = Transpose<perm = [0, 2, 3, 1]>(b{i})",
                f"d{i} = Relu(c{i})",
                f"e{i} = Transpose<perm = [0, 3, 1, 2]>(d{i})",
                f"v{i + 1} = Add(v{i}, e{i})",
            ]
        model = build(
            {"x": (1, 3, 2, 2)}, f"v{blocks}", "\n".join(lines), w=noise(3, 3, 1, 1) / 9, k=np.full((3, 1, 1), 0.5)
        )
        start = time.perf_counter()
        after = canonicalize(model)
        seconds.append(time.perf_counter() - start)
        assert len(after.graph) == 3 * blocks + 1
    assert seconds[1] < 10 * max(seconds[0], 0.1)
