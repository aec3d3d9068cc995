import pytest

from edgekit.pruning.comparison import ComparedArtifact, Comparison, Figures, Speed
from edgekit.verification import Verification

SEEN = Verification("onnxruntime 1", 10, 20.0, 0.99, 0.5, top1_agreement=97.0, top1=90.0, top1_float=91.0)


def compared(ratio=None, interval=None) -> ComparedArtifact:
    ms = None if ratio is None else 1.0
    return ComparedArtifact("x/a.onnx", Figures(100, SEEN, ms), Figures(80, SEEN, ms), ratio, interval)


@pytest.mark.parametrize(
    ("ratio", "interval", "speed"),
    [
        (0.8, (0.7, 0.9), Speed.FASTER),
        (0.72, (0.56, 1.09), Speed.NOT_SHOWN),
        (0.98, (0.9, 1.0), Speed.NOT_SHOWN),
        (1.0, (0.9, 1.1), Speed.NOT_FASTER),
        (1.1, (1.05, 1.2), Speed.NOT_FASTER),
        (0.9, None, Speed.FASTER),
        (None, None, None),
    ],
)
def test_it_is_faster_when_there_is_no_doubt(ratio, interval, speed):
    assert compared(ratio, interval).speed is speed


def test_where_it_does_not_pay_is_said_plainly():
    artifacts = compared(0.8, (0.7, 0.9)), compared(1.02, (0.97, 1.06)), compared(0.72, (0.56, 1.09)), compared()
    assert list(Comparison(SEEN, artifacts).notes()) == [
        "x/a.onnx: pruning does not pay here: 1.02x of the unpruned latency (0.97 to 1.06)",
        "x/a.onnx: not shown to be faster: 0.72x of the unpruned latency (0.56 to 1.09)",
    ]


def test_the_document_has_both_sides_and_nothing_that_is_not_known():
    document = compared(0.8, (0.7, 0.9)).to_json()
    assert document["before"] == {"bytes": 100, "sqnr_db": 20.0, "top1_agreement": 97.0, "top1": 90.0, "median_ms": 1.0}
    assert document["latency_ratio_ci"] == [0.7, 0.9] and document["speed"] == "faster"
    assert not {"latency_ratio", "latency_ratio_ci", "speed"} & set(compared().to_json())
    assert "median_ms" not in compared().to_json()["after"]
