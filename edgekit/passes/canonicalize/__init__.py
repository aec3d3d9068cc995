"""The canonical graph: one form for every network, whatever framework and exporter it came from."""

import onnx_ir as ir
from onnx_ir.passes import common

from edgekit.passes.canonicalize.eliminate_noops import DropExpands, EliminateNoops
from edgekit.passes.canonicalize.fold_batch_norm import FoldIntoNext, FoldIntoPrevious, LowerBatchNorm
from edgekit.passes.canonicalize.fold_constants import FoldConstants
from edgekit.passes.canonicalize.fold_pads import FoldPads
from edgekit.passes.canonicalize.fuse_linear import MatMulToGemm, NormalizeGemm
from edgekit.passes.canonicalize.merge_affine import MergeAffine
from edgekit.passes.canonicalize.normalize_clips import NormalizeClips
from edgekit.passes.canonicalize.normalize_windows import NormalizeWindows
from edgekit.passes.canonicalize.reshapes import KeepReducedDims, NormalizeReshapes, ReshapesMeet
from edgekit.passes.canonicalize.tidy import MergeDuplicates, NameNodes, RemoveUnused
from edgekit.passes.canonicalize.transposes import MergeTransposes, TransposeIntoGemm

_ROUNDS = 12
"""Each round enables the next (a cancelled Transpose lets a BatchNorm meet its convolution); real networks need two to four."""


def canonicalize(model: ir.Model) -> ir.Model:
    """A new model in canonical form that computes the same within float rounding; the given one stays as it is.

    Raises ``ModelError`` for what has no inference-time meaning (BatchNormalization in training mode) or no static shape.
    """
    return _PASSES(model.clone()).model


_PASSES = ir.passes.Sequential(
    # Old exporters list every weight as an input too; as constants they can be folded.
    common.RemoveInitializersFromInputsPass(),
    RemoveUnused(),
    # Everything below looks for initializers and static shapes.
    FoldConstants(),
    ir.passes.PassManager(
        [
            EliminateNoops(),
            DropExpands(),
            MergeDuplicates(),
            # Pads are folded into explicit attributes.
            NormalizeWindows(),
            FoldPads(),
            # Gemm before the affine passes, which fold into its canonical form only.
            MatMulToGemm(),
            NormalizeGemm(),
            LowerBatchNorm(),
            # Into the layer before first: what remains between two layers may go into the next.
            FoldIntoPrevious(),
            MergeAffine(),
            FoldIntoPrevious(),
            FoldIntoNext(),
            NormalizeClips(),
            MergeTransposes(),
            # After the Transposes have merged: those that keep the order become Reshapes.
            NormalizeReshapes(),
            KeepReducedDims(),
            ReshapesMeet(),
            TransposeIntoGemm(),
            FoldConstants(),
            RemoveUnused(),
        ],
        steps=_ROUNDS,
        early_stop=True,
    ),
    NameNodes(),
)
