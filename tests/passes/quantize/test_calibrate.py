import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import DataError, UsageError
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from tests.passes.quantize.networks import Network, images, mobile_network, run, sqnr_db

STATIC = QuantizationScheme(Precision.INT8, observer="mse", rounding="gptq", bias_correction=True)


def constants(model: ir.Model) -> dict[str, Any]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}


class Counted:
    """Samples that count how often each is read."""

    def __init__(self, count: int) -> None:
        self.samples, self.reads = images(count), np.zeros(count, int)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index, sample in enumerate(self.samples):
            self.reads[index] += 1
            yield sample


@pytest.mark.parametrize("observer", ["minmax", "mse"])
def test_the_order_of_the_samples_changes_no_bit_of_the_network(observer: Any) -> None:
    model, samples = mobile_network(), images(24)
    networks = []
    for seed in range(3):
        np.random.default_rng(seed).shuffle(samples)
        networks.append(constants(quantize(model, STATIC, calibrate(model, samples, observer=observer))))
    for other in networks[1:]:
        assert networks[0].keys() == other.keys()
        assert all(np.array_equal(networks[0][name], other[name]) for name in other)


@pytest.mark.parametrize(("moments", "passes"), [(False, 1), (True, 2)])
def test_each_pass_reads_each_sample_once(moments: bool, passes: int) -> None:
    samples = Counted(7)
    calibrate(mobile_network(), samples, moments=moments)
    assert samples.reads.tolist() == [passes] * 7


@pytest.mark.parametrize("moments", [False, True])
def test_progress_sums_to_the_number_of_samples(moments: bool) -> None:
    steps: list[int] = []
    calibrate(mobile_network(), images(9), steps.append, moments=moments)
    assert sum(steps) == 9


def test_memory_does_not_grow_with_the_samples() -> None:
    class Repeated:
        def __init__(self, count: int) -> None:
            self.count, self.samples = count, images(10)

        def __iter__(self) -> Iterator[dict[str, Any]]:
            return (self.samples[i % 10] for i in range(self.count))

    model, peaks = mobile_network(), []
    calibrate(model, Repeated(20))
    for count in (20, 400):
        tracemalloc.start()
        calibrate(model, Repeated(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1 + 200_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_sample_is_named(bad: float) -> None:
    samples = images(5)
    samples[3]["x"] = samples[3]["x"].copy()
    samples[3]["x"][0, 1, 2, 3] = bad
    with pytest.raises(DataError, match=r"sample 3: value 'x' is NaN or infinite"):
        calibrate(mobile_network(), samples)


def test_an_overflow_inside_the_network_is_named() -> None:
    n = Network(1, 2)
    big = n.gemm("x", np.full((2, 2), 1e30), None, "big")
    model = n.model(n.gemm(big, np.full((2, 2), 1e30), None, "bigger"))
    with pytest.raises(
        DataError, match=r"sample 0: value 'bigger' is NaN or infinite, made by Gemm node 'bigger_node'"
    ):
        calibrate(model, [{"x": np.ones((1, 2), np.float32)}])


def test_no_samples() -> None:
    with pytest.raises(DataError, match="no samples"):
        calibrate(mobile_network(), [])


def test_an_iterator_can_be_read_only_once() -> None:
    with pytest.raises(UsageError, match="read only once"):
        calibrate(mobile_network(), iter(images(2)))


def test_a_sample_without_an_input() -> None:
    with pytest.raises(DataError, match=r"sample 1: no array 'x'; expected x"):
        calibrate(mobile_network(), [*images(1), {"y": np.zeros(3)}])


def test_the_model_stays_as_it_was() -> None:
    model = mobile_network()
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    quantize(model, STATIC, calibrate(model, images(3)))
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("float_ops", [("Conv",), ("Relu",), ("Clip", "Gemm"), ("Conv", "Clip")])
def test_operators_that_stay_float_need_ranges_of_their_own(float_ops: tuple[str, ...]) -> None:
    n = Network(1, 3, 8, 8)
    first = n.op("Relu", [n.conv("x", n.random.normal(size=(4, 3, 3, 3)), "c")], "r")
    second = n.relu6(n.conv(first, n.random.normal(size=(4, 4, 3, 3)), "d"), "s")
    flat = n.op("Reshape", [second, n.constant(np.array([1, 64]), "shape")], "flat")
    model = n.model(n.gemm(flat, n.random.normal(size=(5, 64)) * 0.1, None, "y"))
    samples = images(8, shape=(1, 3, 8, 8))
    calibration = calibrate(model, samples, float_ops=[(), float_ops])
    for kept in ((), float_ops):
        network = quantize(model, replace(STATIC, float_ops=kept), calibration)
        assert sqnr_db(run(model, samples), run(network, samples)) > 20
        for node in network.graph:
            if node.op_type in kept and node.op_type in ("Conv", "Gemm"):
                assert node.inputs[1].is_initializer(), node.name


def infinite(op_type: str) -> ir.Model:
    n = Network(1, 3, 8, 8)
    n.conv("x", n.random.normal(size=(4, 3, 3, 3)), "c", pad=1)
    low = n.constant(np.array(-np.inf, np.float32), "low")
    if op_type == "Pad":
        n.op("Pad", ["c", n.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"), low], "hidden")
    elif op_type == "Where":
        n.op("Where", [n.constant(np.eye(8, dtype=bool), "diagonal"), "c", low], "hidden")
    else:
        n.op(op_type, ["c", low], "hidden")
    n.op("MaxPool", ["hidden"], "pooled", kernel_shape=[8, 8], strides=[1, 1])
    return n.model(n.conv("pooled", n.random.normal(size=(2, 4, 1, 1)), "y"))


@pytest.mark.parametrize("op_type", ["Pad", "Where", "Max"])
def test_infinite_constants_stay_float(op_type: str) -> None:
    model, samples = infinite(op_type), images(8, shape=(1, 3, 8, 8))
    network = quantize(model, STATIC, calibrate(model, samples))
    assert sqnr_db(run(model, samples), run(network, samples)) > 20
    assert all(np.isfinite(array).all() for name, array in constants(network).items() if name != "low")
    assert any(node.op_type == "QuantizeLinear" for node in network.graph)
