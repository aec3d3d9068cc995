"""What an artifact must reach to be released: plain frozen data that a target profile and --max-drop can build."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits that verification holds an artifact against.

    ``max_top1_drop``: largest loss of top-1 against the float source, in percentage points; needs labels.
    ``min_top1_agreement``: smallest share of samples, in percent, on which the artifact's top-1 class is the float
    source's; for classifiers when there are no labels. Whether an output without labels is a classifier's is told by
    what computes it (edgekit/graph/scores.py): a Softmax, a Sigmoid, or a product that gives logits.
    ``min_cosine``: smallest cosine, 0..1, between the artifact's and the float source's outputs, for every model.
    ``min_output_cosine``: the same of every single output and of every operand of a Concat that made one, where there
    are several: a detector's scores are lost in the sums beside its boxes. Scores of 0..1 may be off by 1/128.
    ``min_format_agreement``: smallest share of samples, in percent, on which two formats of a target agree on top-1.
    ``min_format_cosine``: smallest cosine between the outputs of two formats of a target, for every model.

    The defaults stop what is broken and let through what quantization and chance explain. On 63 samples one sample is
    1.6 points, and a good int8 network (96 % agreement) loses 3 points by chance less than once in ten times; a broken
    one (per-tensor depthwise weights: 86 % agreement, 7 dB) fails all of them.
    """

    max_top1_drop: float = 3.0
    min_top1_agreement: float = 90.0
    min_cosine: float = 0.95
    min_output_cosine: float = 0.9
    min_format_agreement: float = 95.0
    min_format_cosine: float = 0.98

    @classmethod
    def of_max_drop(cls, points: float, profile: Self | None = None, *, classifies: bool = True) -> Self:
        """The gate that ``--max-drop`` puts in the profile's place: only top-1, in percentage points, counts.

        A model that has no top-1 keeps the cosines of its ``profile``, unless 100 lets everything through.
        """
        kept = (profile or cls()) if points < 100 and not classifies else None
        return cls(
            max_top1_drop=points,
            min_top1_agreement=100.0 - points,
            min_cosine=-1.0 if kept is None else kept.min_cosine,
            min_output_cosine=-1.0 if kept is None else kept.min_output_cosine,
            min_format_agreement=0.0,
            min_format_cosine=-1.0 if kept is None else kept.min_format_cosine,
        )
