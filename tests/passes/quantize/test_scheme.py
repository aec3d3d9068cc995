import subprocess
import sys

from edgekit.interface import Precision
from edgekit.passes.quantize.scheme import QuantizationScheme


def test_seven_bit_weights_reach_63() -> None:
    assert QuantizationScheme(Precision.INT8, weight_bits=7).weight_quant_max == 63
    assert QuantizationScheme(Precision.INT8).weight_quant_max == 127


def test_a_profile_can_be_read_without_numpy() -> None:
    code = "import sys; import edgekit.passes.quantize.scheme; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
