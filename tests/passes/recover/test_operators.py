"""Every operator for several samples at once against onnxruntime one by one, in both layouts."""

import pytest
from hypothesis import HealthCheck, given, settings

from edgekit.passes.recover.ops import OPS
from tests.exporters.tflite.test_float_operators import CASES, LAID_OUT, Case, build
from tests.exporters.tflite.test_random_graphs import graphs
from tests.passes.recover.running import check

# Attributes that recovery refuses by name (see the functions), and what is not a network's business.
REFUSED = [
    lambda case: case.attributes.get("mode") == "cubic" or case.attributes.get("antialias"),
]
KNOWN = [case for case in CASES if case.op in OPS and not any(refuses(case) for refuses in REFUSED)]


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_operator_in_the_layout_of_the_source(case: Case) -> None:
    check(build(case, channels_last=False), 10 * case.tolerance)


@pytest.mark.parametrize("case", [case for case in KNOWN if any(case is one for one in LAID_OUT)], ids=str)
def test_operator_with_the_channels_last(case: Case) -> None:
    check(build(case, channels_last=True), 10 * case.tolerance)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(graphs())
def test_random_graph(model) -> None:
    if all(node.op_type in OPS for node in model.graph.node):
        check(model, 1e-4)
