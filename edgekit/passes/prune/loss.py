"""What a change of the outputs costs: KL divergence of class scores, or the outputs' relative squared error."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


class OutputLoss:
    """Compares outputs with the float model's, on rows that ``rows`` makes of one sample's outputs.

    Of a classifier (edgekit.verification.scores) a row is the logits (log-probabilities after a Softmax), and the loss is
    the mean of KL(softmax(float) || softmax(changed)); of anything else it is the mean over outputs of the squared error
    divided by the float output's variance. Changes of rows may be added: that is what the search does.
    """

    def __init__(self, model: ir.Model) -> None:
        raise NotImplementedError

    def row(self, outputs: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        """[width] for one sample; large outputs are subsampled by a fixed pattern."""
        raise NotImplementedError

    def loss(self, reference: NDArray[np.float64], changed: NDArray[np.float64]) -> float:
        """Of rows [samples, width]; leading axes of ``changed`` beyond that are not allowed."""
        raise NotImplementedError
