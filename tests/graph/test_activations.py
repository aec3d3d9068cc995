from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.graph.activations import ActivationReader, part, read_samples
from tests.passes.quantize.networks import Network, images, mobile_network


def test_threads_read_their_own_samples() -> None:
    reader, samples = ActivationReader(mobile_network(), ["x", "expand6", "logits"]), images(40)

    def read(sample):
        return {name: array.copy() for name, array in reader.read(sample).items()}

    alone = [read(sample) for sample in samples]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read, samples))
    for sample, first, second in zip(samples, alone, together, strict=True):
        assert first.keys() == second.keys() == {"x", "expand6", "logits"}
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert np.array_equal(first["x"], sample["x"])
    assert not np.array_equal(alone[0]["logits"], alone[1]["logits"])


def test_inputs_alone_run_nothing() -> None:
    n = Network(1, 4)
    reader = ActivationReader(n.model(n.op("Relu", ["x"], "y")), ["x"])
    transposed = np.arange(8, dtype=np.float32).reshape(4, 2).T[:1]
    assert np.array_equal(reader.read({"x": transposed})["x"], transposed)


def test_the_next_read_overwrites() -> None:
    n = Network(1, 4)
    reader = ActivationReader(n.model(n.op("Neg", ["x"], "y")), ["y"])
    first = reader.read({"x": np.ones((1, 4), np.float32)})["y"]
    assert first.tolist() == [[-1] * 4]
    reader.read({"x": np.zeros((1, 4), np.float32)})
    assert first.tolist() == [[0] * 4]


def test_a_part_has_only_what_lies_between() -> None:
    model = mobile_network()
    values = {value.name: value for node in model.graph for value in node.outputs}
    weight = model.graph.initializers["depthwise_w"]
    between = part(model, [values["expand6"], weight], [values["depthwise6"]])
    assert [node.name for node in between.graph] == ["depthwise_node", "depthwise6_node"]
    assert [value.name for value in between.graph.inputs] == ["expand6", "depthwise_w"]
    assert set(between.graph.initializers) == {"depthwise_b", "depthwise6_min", "depthwise6_max"}
    assert weight.const_value is not None


def test_results_come_in_the_order_of_the_samples() -> None:
    samples = images(30)
    sums = list(read_samples(mobile_network(), ["x"], samples, lambda arrays: float(arrays[0].sum()), workers=3))
    assert sums == [float(sample["x"].sum()) for sample in samples]


def test_a_sample_without_an_input_is_refused() -> None:
    with pytest.raises(DataError, match="sample 1: no array 'x'; expected x"):
        list(read_samples(mobile_network(), ["x"], [*images(1), {"y": np.zeros(1)}], len, workers=1))
