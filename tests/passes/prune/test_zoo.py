"""The grouping is right on real architectures: see ``zoo``, and benchmarks/prune_zoo.py for all of them."""

import pytest

from tests.passes.prune.zoo import SHARE, SLACK, Measured, keras_model, light_model, measure

ROUNDING = 1e-4
"""A smaller matrix product adds its terms in another order: about 1e-7 of the largest a layer, and every layer passes
on the errors of those before. A channel that is forgotten changes outputs by a hundredth or more."""


def check(measured: Measured) -> None:
    assert measured.error < ROUNDING < 0.01 < measured.change
    assert SHARE <= measured.macs_removed <= SHARE + SLACK
    assert measured.costs_agree


@pytest.mark.parametrize("name", ["light_squeezenet", "light_shufflenet", "light_inception_v1"])
def test_light(name: str) -> None:
    check(measure(light_model(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["light_bvlc_alexnet", "light_densenet121", "light_resnet50"])
def test_large_light(name: str) -> None:
    check(measure(light_model(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXtTiny"])
def test_keras_applications(name: str) -> None:
    check(measure(keras_model(name)))
