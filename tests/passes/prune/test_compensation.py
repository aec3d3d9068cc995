"""What the report says of compensation must be what was done."""

import numpy as np

from edgekit.passes.prune.pruning import prune
from edgekit.passes.prune.scheme import PruningScheme
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.importance.networks import samples

SCHEME = PruningScheme(channel_multiple=4)


def test_where_no_reader_can_be_fitted_the_report_says_so() -> None:
    model = graph(
        """(float[1,3,6,6] x) => (float[1,4,12,12] y)
        { a = Conv(x, w, b) r = Relu(a) y = ConvTranspose<strides=[2,2]>(r, u) }""",
        w=(16, 3, 1, 1),
        b=(16,),
        u=(16, 4, 2, 2),
    )
    report = prune(model, samples(model, 8), 0.4, SCHEME).report
    assert report.compensation == "nothing re-fitted"
    assert any("could be re-fitted" in note for note in report.notes)


def test_half_precision_is_fitted_and_stays_half() -> None:
    random = np.random.default_rng(0)

    def half(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float16)

    v = half(4, 16, 1, 1)
    model = graph(
        "(float16[1,3,6,6] x) => (float16[1,4,6,6] y) { a = Conv(x, w, b) r = Relu(a) y = Conv(r, v, c) }",
        # Sums of squares of these leave float16.
        w=half(16, 3, 1, 1) * np.float16(200),
        b=half(16),
        v=v,
        c=half(4),
    )
    given = [{"x": half(1, 3, 6, 6)} for _ in range(8)]
    pruned = prune(model, given, 0.4, SCHEME)
    assert pruned.report.compensation.startswith("consumers re-fitted") and pruned.report.notes == []
    assert pruned.report.loss is not None and pruned.report.loss < 1
    fitted = pruned.model.graph.initializers["v"].const_value
    assert fitted is not None and fitted.numpy().dtype == np.float16
    columns = {column.tobytes() for column in v.transpose(1, 0, 2, 3)}
    assert any(column.tobytes() not in columns for column in fitted.numpy().transpose(1, 0, 2, 3))
