"""The canonical graph: one form for every network, whatever framework and exporter it came from."""

import onnx_ir as ir
from onnx_ir.passes import common

from edgekit.errors import EdgekitError
from edgekit.graph.pads import SpellOutPads
from edgekit.passes.canonicalize.eliminate_noops import DropExpands, EliminateNoops
from edgekit.passes.canonicalize.fold_batch_norm import FoldIntoNext, FoldIntoPrevious, LowerBatchNorm
from edgekit.passes.canonicalize.fold_constants import FoldConstants
from edgekit.passes.canonicalize.fold_pads import FoldPads
from edgekit.passes.canonicalize.fuse_activations import (
    FuseGelu,
    FuseHardSigmoid,
    FuseHardSwish,
    FuseMish,
    FusePRelu,
    SplitHardSigmoid,
)
from edgekit.passes.canonicalize.fuse_linear import MatMulToGemm, NormalizeGemm
from edgekit.passes.canonicalize.fuse_norms import FuseLayerNorm, FuseSoftmax
from edgekit.passes.canonicalize.global_pools import NameGlobalPools
from edgekit.passes.canonicalize.merge_affine import MergeAffine
from edgekit.passes.canonicalize.move_transposes import MoveTransposes
from edgekit.passes.canonicalize.normalize_clips import NormalizeClips
from edgekit.passes.canonicalize.normalize_windows import NormalizeWindows
from edgekit.passes.canonicalize.reshapes import KeepReducedDims, NormalizeReshapes, ReshapesMeet, TransposeToReshape
from edgekit.passes.canonicalize.scale_by_readers import ScaleByReaders
from edgekit.passes.canonicalize.sequences import ReverseBySlice, TakeFromConcat
from edgekit.passes.canonicalize.tidy import MergeDuplicates, NameNodes, RemoveUnused
from edgekit.passes.canonicalize.transposes import MergeTransposes, TransposeIntoGemm

_ROUNDS = 12
"""A cancelled Transpose lets a BatchNorm meet its convolution in the next round; real networks need two to four."""


def canonicalize(model: ir.Model) -> ir.Model:
    """A new model in canonical form that computes the same within float rounding; the given one stays as it is.

    Raises ``ModelError`` for what has no inference-time meaning (BatchNormalization in training mode) or no static
    shape.
    """
    try:
        return _PASSES(model.clone()).model
    except ir.passes.PassError as error:
        raise _root_cause(error) from error


def _root_cause(error: BaseException) -> BaseException:
    """The pass manager wraps what a pass raises; users want the sentence about their model."""
    while not isinstance(error, EdgekitError) and error.__cause__ is not None:
        error = error.__cause__
    return error


_REWRITES: tuple[ir.passes.PassBase, ...] = (
    EliminateNoops(),
    DropExpands(),
    MergeDuplicates(),
    ReverseBySlice(),
    TakeFromConcat(),
    # Pads are folded into explicit attributes.
    NormalizeWindows(),
    FoldPads(),
    SpellOutPads(),
    NameGlobalPools(),
    # Gemm before the affine passes, which fold into its canonical form only.
    MatMulToGemm(),
    NormalizeGemm(),
    LowerBatchNorm(),
    # Whole patterns before their scalar factors and terms are merged with what stands around them.
    FuseLayerNorm(),
    FuseSoftmax(),
    FuseHardSwish(),
    FuseGelu(),
    FuseMish(),
    FusePRelu(),
    # Into the layer before first: what then remains between two layers may go into the next.
    FoldIntoPrevious(),
    MergeAffine(),
    FoldIntoPrevious(),
    FoldIntoNext(),
    NormalizeClips(),
    # A hard sigmoid behind a layer is cheaper as a Clip whose line is in the weights, so FoldIntoPrevious has gone
    # first; the swish that it may be part of comes before it.
    FuseHardSwish(),
    SplitHardSigmoid(),
    FoldIntoPrevious(),
    FuseHardSigmoid(),
    # Reshapes explicit and merged before the Transposes look at them.
    NormalizeReshapes(),
    KeepReducedDims(),
    ReshapesMeet(),
    MergeTransposes(),
    MoveTransposes(),
    TransposeIntoGemm(),
    FoldConstants(),
    RemoveUnused(),
)

_PASSES = ir.passes.Sequential(
    # Old exporters list every weight as an input too; as constants they can be folded.
    common.RemoveInitializersFromInputsPass(),
    RemoveUnused(),
    # Everything below looks for initializers and static shapes.
    FoldConstants(),
    ir.passes.PassManager(_REWRITES, steps=_ROUNDS),
    # Only now: as long as regions look for their layout, a Transpose says more than the Reshape that it equals.
    ir.passes.PassManager((TransposeToReshape(), *_REWRITES, ScaleByReaders()), steps=_ROUNDS),
    NameNodes(),
)
