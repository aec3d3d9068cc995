"""Activation functions that exporters spell out become the one op that ONNX has for them."""

import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import attribute, constant_scalar, is_constant, is_op, produced_by, shape_of, single_consumer
from edgekit.passes.canonicalize.fold_batch_norm import has_constant_weights
from edgekit.passes.canonicalize.normalize_clips import bounds
from edgekit.passes.canonicalize.products import Line, lines, near, products

_SIXTH = 1 / 6
_TANH_CUBE = 0.044715  # Hendrycks & Gimpel 2016, the tanh approximation of GELU


class FuseHardSwish(RewritePass):
    """x times its hard sigmoid.

    Given:
        Mul(x, Mul(Clip(Add(x, 3), 0, 6), 1/6))      (factors in any order; the gate may be a HardSigmoid(1/6, 1/2))
    Result:
        HardSwish(x)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the last product."""
        if not is_op(node, "Mul", "Div"):
            return False
        for product in products(node):
            for gate in _gates(product.right):
                slope, offset, top = (product.scale * number for number in (gate.multiplier, gate.addend, gate.top))
                if gate.x is product.left and near(slope, _SIXTH) and near(offset, 0.5) and near(top, 1.0):
                    editor.rewrite(node, "HardSwish", [gate.x])
                    return True
        return False


class _Gate:
    """``clamp(multiplier * x + addend, 0, top)``."""

    __slots__ = ("addend", "multiplier", "top", "x")

    def __init__(self, line: Line, top: float, scale: float = 1.0) -> None:
        self.x, self.top = line.x, top
        self.multiplier, self.addend = scale * line.multiplier, scale * line.addend


def _gates(value: ir.Value) -> Iterator[_Gate]:
    hard = produced_by(value, "HardSigmoid")
    if hard is not None and hard.inputs[0] is not None:
        yield _Gate(Line(hard.inputs[0], attribute(hard, "alpha"), attribute(hard, "beta")), 1.0)
    clip = produced_by(value, "Clip")
    limits = bounds(clip) if clip is not None else None
    if (
        clip is not None
        and clip.inputs[0] is not None
        and limits is not None
        and limits[0] == 0
        and np.isfinite(limits[1])
    ):
        for line in lines(clip.inputs[0]):
            yield _Gate(line, limits[1])


class FuseHardSigmoid(RewritePass):
    """A clamped line from 0 to 1.

    Given:
        Mul(Clip(Add(x, 3), 0, 6), 1/6);  Clip(Add(Mul(x, 0.2), 0.5), 0, 1)
    Result:
        HardSigmoid(x, alpha=1/6, beta=0.5);  HardSigmoid(x, alpha=0.2, beta=0.5)

    Behind a convolution the line has gone into the weights by then, and Clip (fused by every runtime) and Mul remain:
    better.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Clip, or the Mul behind it."""
        if not is_op(node, "Mul", "Div", "Clip"):
            return False
        for outer in lines(node.outputs[0], 1):
            if outer.addend or outer.multiplier <= 0:
                continue
            # The longest line: a scale in front of the shift belongs to it.
            for gate in reversed(list(_gates(outer.x))):
                slope, offset = gate.multiplier * outer.multiplier, gate.addend * outer.multiplier
                if near(gate.top * outer.multiplier, 1.0) and offset and slope > 0 and produced_by(outer.x, "Clip"):
                    editor.rewrite(node, "HardSigmoid", [gate.x], {"alpha": slope, "beta": offset})
                    return True
        return False


class SplitHardSigmoid(RewritePass):
    """A hard sigmoid that alone follows a convolution becomes a Clip, which every runtime fuses in int8 too.

    Given:
        Conv -> HardSigmoid(alpha=1/6, beta=0.5)
    Result:
        Conv -> Add(., 3) -> Clip(., 0, 6) -> Mul(., 1/6); FoldIntoPrevious takes the Add into the bias
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the HardSigmoid."""
        if not is_op(node, "HardSigmoid"):
            return False
        layer = produced_by(node.inputs[0], "Conv", "ConvTranspose", "Gemm")
        if layer is None or single_consumer(layer.outputs[0]) is not node or not has_constant_weights(layer):
            return False
        alpha, beta = attribute(node, "alpha"), attribute(node, "beta")
        if alpha <= 0:
            return False
        # Scaled so that the upper bound is ReLU6's where the slope is that of MobileNetV3's hard sigmoid.
        number = {name: _number(node, value, editor) for name, value in _clip_numbers(alpha, beta).items()}
        like = node.outputs[0]
        shifted = editor.insert(node, "Add", [layer.outputs[0], number["shift"]], like=like)
        clipped = editor.insert(node, "Clip", [shifted, number["min"], number["max"]], like=like)
        editor.rewrite(node, "Mul", [clipped, number["scale"]])
        return True


def _clip_numbers(alpha: float, beta: float) -> dict[str, float]:
    top = 6.0 if near(alpha, _SIXTH) else 1 / alpha
    return {"shift": top * beta, "min": 0.0, "max": top, "scale": 1 / top}


def _number(node: ir.Node, value: float, editor: GraphEditor) -> ir.Value:
    dtype = node.outputs[0].dtype
    assert dtype is not None
    return editor.constant(np.array(value, dtype=dtype.numpy()), f"{node.outputs[0].name}/constant")


class FuseGelu(RewritePass):
    """The Gaussian error linear unit, exact or by tanh (Hendrycks & Gimpel 2016).

    Given:
        0.5 x (1 + Erf(x / sqrt 2));  0.5 x (1 + Tanh(sqrt(2 / pi) (x + 0.044715 x³)))
    Result:
        Gelu(x, approximate="none");  Gelu(x, approximate="tanh")
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the last product."""
        if not is_op(node, "Mul", "Div"):
            return False
        for product in products(node):
            for gate in lines(product.right):
                # scale (a g + b) must be (g + 1) / 2.
                if not (near(product.scale * gate.multiplier, 0.5) and near(product.scale * gate.addend, 0.5)):
                    continue
                approximate = _gelu_kind(gate.x, product.left)
                if approximate is not None:
                    editor.rewrite(node, "Gelu", [product.left], {"approximate": approximate})
                    return True
        return False


def _gelu_kind(gate: ir.Value, x: ir.Value) -> str | None:
    erf, tanh = produced_by(gate, "Erf"), produced_by(gate, "Tanh")
    if erf is not None and erf.inputs[0] is not None:
        return "none" if any(_is_line(line, x, math.sqrt(0.5)) for line in lines(erf.inputs[0])) else None
    if tanh is not None and tanh.inputs[0] is not None:
        for line in lines(tanh.inputs[0], 1):
            if near(line.multiplier, math.sqrt(2 / math.pi)) and not line.addend and _is_cubic(line.x, x):
                return "tanh"
    return None


def _is_line(line: Line, x: ir.Value, multiplier: float) -> bool:
    return line.x is x and near(line.multiplier, multiplier) and not line.addend


def _is_cubic(value: ir.Value, x: ir.Value) -> bool:
    """``x + 0.044715 x³``, or ``x (1 + 0.044715 x²)``."""
    total = produced_by(value, "Add")
    if total is not None:
        for one, other in (total.inputs, total.inputs[::-1]):
            if one is x and other is not None:
                return _is_monomial(_monomial(other, x), _TANH_CUBE, 3)
    product = produced_by(value, "Mul")
    if product is None or x not in product.inputs:
        return False
    other = product.inputs[1] if product.inputs[0] is x else product.inputs[0]
    for line in lines(other, 1) if other is not None else ():
        square = _monomial(line.x, x)
        if near(line.addend, 1.0) and square is not None:
            return _is_monomial((square[0] * line.multiplier, square[1]), _TANH_CUBE, 2)
    return False


def _monomial(value: ir.Value | None, x: ir.Value) -> tuple[float, float] | None:
    """``(a, n)`` when ``value`` is ``a x^n``, multiplied in whatever order."""
    number = constant_scalar(value)
    if value is x or number is not None:
        return (1.0, 1.0) if number is None else (number, 0.0)
    node = produced_by(value, "Mul", "Pow")
    if node is None:
        return None
    left, right = _monomial(node.inputs[0], x), _monomial(node.inputs[1], x)
    if left is None or right is None:
        return None
    if node.op_type == "Mul":
        return left[0] * right[0], left[1] + right[1]
    return (1.0, left[1] * right[0]) if left[0] == 1 and right[1] == 0 else None


def _is_monomial(found: tuple[float, float] | None, coefficient: float, power: int) -> bool:
    return found is not None and near(found[0], coefficient) and found[1] == power


class FuseMish(RewritePass):
    """x tanh(softplus(x)) (Misra 2019); softplus also as log(1 + exp(x)).

    Given:
        Mul(x, Tanh(Softplus(x)));  Log(Add(Exp(x), 1))
    Result:
        Mish(x);  Softplus(x)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Mul, or the Log."""
        if is_op(node, "Log") and (x := _softplus_input(node.outputs[0])) is not None:
            editor.rewrite(node, "Softplus", [x])
            return True
        if not is_op(node, "Mul"):
            return False
        for x, gate in (node.inputs, node.inputs[::-1]):
            tanh = produced_by(gate, "Tanh")
            softplus = produced_by(tanh.inputs[0], "Softplus") if tanh is not None else None
            if softplus is not None and softplus.inputs[0] is x:
                editor.rewrite(node, "Mish", [x])
                return True
        return False


def _softplus_input(value: ir.Value) -> ir.Value | None:
    node = produced_by(value, "Log")
    if node is None or node.inputs[0] is None:
        return None
    for line in lines(node.inputs[0], 1):
        exp = produced_by(line.x, "Exp")
        if exp is not None and line.multiplier == 1 and line.addend == 1:
            return exp.inputs[0]
    return None


class FusePRelu(RewritePass):
    """Parametric and leaky rectifiers as Keras writes them.

    Given:
        Add(Relu(x), Mul(-a, Relu(Neg(x))));  Max(x, Mul(x, 0.1));  Where(Greater(x, 0), x, Mul(a, x))
    Result:
        PRelu(x, a);  LeakyRelu(x, 0.1);  PRelu(x, a)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Add, the Max, or the Where."""
        if is_op(node, "Where"):
            return _fuse_choice(node, editor)
        if is_op(node, "Max") and len(node.inputs) == 2:
            return _fuse_leaky(node, editor)
        if not is_op(node, "Add"):
            return False
        for positive, negative in (node.inputs, node.inputs[::-1]):
            relu, scaled = produced_by(positive, "Relu"), produced_by(negative, "Mul")
            if relu is not None and scaled is not None and _fuse_prelu(node, relu.inputs[0], scaled, editor):
                return True
        return False


def _fuse_prelu(node: ir.Node, x: ir.Value | None, scaled: ir.Node, editor: GraphEditor) -> bool:
    for slope, part in (scaled.inputs, scaled.inputs[::-1]):
        relu = produced_by(part, "Relu")
        minus = produced_by(relu.inputs[0], "Neg", "Mul") if relu is not None else None
        if minus is None or x is None or not is_constant(slope) or not _is_negated(minus, x):
            continue
        negated = editor.insert(node, "Neg", [slope], like=slope or x)
        editor.rewrite(node, "PRelu", [x, negated])
        return True
    return False


def _is_negated(minus: ir.Node, x: ir.Value) -> bool:
    if minus.op_type == "Neg":
        return minus.inputs[0] is x
    return any(line.x is x and line.multiplier == -1 and not line.addend for line in lines(minus.outputs[0], 1))


def _fuse_leaky(node: ir.Node, editor: GraphEditor) -> bool:
    for x, scaled in (node.inputs, node.inputs[::-1]):
        if x is None or scaled is None or shape_of(x) != shape_of(node.outputs[0]):
            continue
        for line in lines(scaled, 1):
            if line.x is x and not line.addend and 0 <= line.multiplier < 1 and scaled is not x:
                editor.rewrite(node, "LeakyRelu", [x], {"alpha": line.multiplier})
                return True
    return False


def _fuse_choice(node: ir.Node, editor: GraphEditor) -> bool:
    """PyTorch's exporter writes PReLU as a choice between x and its scaled self."""
    condition, x, scaled = node.inputs
    greater, product = produced_by(condition, "Greater", "GreaterOrEqual"), produced_by(scaled, "Mul")
    if greater is None or product is None or x is None or x not in product.inputs or greater.inputs[0] is not x:
        return False
    slope = product.inputs[1] if product.inputs[0] is x else product.inputs[0]
    if constant_scalar(greater.inputs[1]) != 0 or slope is None or not is_constant(slope):
        return False
    number = constant_scalar(slope)
    if number is not None and shape_of(x) == shape_of(node.outputs[0]):
        editor.rewrite(node, "LeakyRelu", [x], {"alpha": number})
    elif shape_of(product.outputs[0]) == shape_of(x):
        editor.rewrite(node, "PRelu", [x, slope])
    else:
        return False
    return True
