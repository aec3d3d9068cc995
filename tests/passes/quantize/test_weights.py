import numpy as np

from edgekit.interface import Precision
from edgekit.passes.quantize import weights
from edgekit.passes.quantize.qparams import choose_qparams
from edgekit.passes.quantize.scheme import QuantizationScheme
from edgekit.passes.quantize.weights import WeightedOperator, quantize_operator


def test_a_bias_fits_int32_after_its_correction_too(monkeypatch):
    correction = np.array([3e6, -2e6, 0.5])
    monkeypatch.setattr(weights, "_expected_error", lambda *_: correction)
    weight = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32) * 1e-3

    class Known:
        pairs = False

    operator = WeightedOperator(
        weight=weight,
        axis=0,
        bias=np.zeros(3, np.float32),
        takes_bias=True,
        source=choose_qparams(-1.0, 1.0),
        target=choose_qparams(-1.0, 1.0),
        moments=Known(),  # type: ignore[arg-type]
    )
    scheme = QuantizationScheme(Precision.INT8, bias_correction=True)
    integers = quantize_operator(operator, scheme)
    assert integers.bias is not None and integers.bias_qparams is not None
    np.testing.assert_allclose(integers.bias * integers.bias_qparams.scale.astype(np.float64), correction, rtol=1e-6)
    assert np.abs(integers.bias.astype(np.int64)).max() <= 2**30 + 2**10
