"""TensorFlow operators inside Keras 2 models (``TFOpLambda`` and ``SlicingOpLambda`` layers), as layers of Keras 3.

Keras 2 wrote ``x + 3.0`` between layers as such a layer, in MobileNetV3 for one; Keras 3 has nothing to read it with.
"""

from collections.abc import Callable
from typing import Any

from edgekit.errors import ModelError

TF_OP_LAYERS = ("TFOpLambda", "SlicingOpLambda")


def tf_op_layers() -> dict[str, type]:
    """``custom_objects`` for Keras's loader. Only pure functions of a fixed table are ever called."""
    import keras

    table = _functions()

    class TFOpLambda(keras.layers.Layer):  # type: ignore[misc]
        """A function of tensors, by name."""

        def __init__(self, function: str, **settings: Any) -> None:
            super().__init__(**{key: settings[key] for key in ("name", "trainable", "dtype") if key in settings})
            if function not in table:
                raise ModelError(
                    f'layer "{self.name}" calls tf.{function}, which edgekit does not know: '
                    "export the model as a SavedModel instead: model.export(dir)"
                )
            self.function = table[function]
            self.operands = settings.get("operands", [])
            self.constants = settings.get("constants", [])
            self.listed = settings.get("listed", False)

        def call(self, inputs: Any, **arguments: Any) -> Any:
            tensors = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
            count = len(tensors) - len(self.operands)
            arguments |= zip(self.operands, tensors[count:], strict=True)
            arguments = {key: value for key, value in arguments.items() if key not in ("name", "training")}
            leading = [*self.constants, *tensors[:count]]
            return self.function(leading if self.listed else leading[0], **arguments)

    return dict.fromkeys(TF_OP_LAYERS, TFOpLambda)


def _functions() -> dict[str, Callable[..., Any]]:
    import tensorflow as tf

    math = (
        "add subtract multiply divide minimum maximum pow square sqrt rsqrt exp log abs negative sigmoid tanh softplus"
    )
    math += " reduce_mean reduce_sum reduce_max reduce_min divide_no_nan floor argmax l2_normalize squared_difference"
    table: dict[str, Callable[..., Any]] = {f"math.{name}": getattr(tf.math, name) for name in math.split()}
    nn = "relu relu6 elu gelu leaky_relu softmax silu swish sigmoid tanh bias_add avg_pool max_pool"
    nn += " avg_pool2d max_pool2d depth_to_space space_to_depth l2_normalize"
    table |= {f"nn.{name}": getattr(tf.nn, name) for name in nn.split() if hasattr(tf.nn, name)}
    table |= {f"__operators__.{name}": function for name, function in _operators().items()}
    plain = (
        "reshape transpose concat stack split squeeze expand_dims cast identity tile clip_by_value pad unstack shape"
    )
    table |= {name: getattr(tf, name) for name in plain.split()}
    table |= {name: getattr(tf.compat.v1, name) for name in ("transpose", "squeeze", "expand_dims")}
    table |= {
        f"compat.v1.{name}": getattr(tf.compat.v1, name) for name in ("transpose", "squeeze", "expand_dims", "pad")
    }
    table |= {"image.resize": tf.image.resize, "linalg.matmul": tf.linalg.matmul, "nn.sigmoid": tf.math.sigmoid}
    return table


def _operators() -> dict[str, Callable[..., Any]]:
    import operator

    names = {"add": "add", "radd": "add", "sub": "sub", "mul": "mul", "rmul": "mul", "truediv": "truediv", "pow": "pow"}
    table: dict[str, Callable[..., Any]] = {ours: _binary(getattr(operator, theirs)) for ours, theirs in names.items()}
    table |= {"rsub": _binary(lambda x, y: y - x), "rtruediv": _binary(lambda x, y: y / x), "neg": operator.neg}
    table["getitem"] = _getitem
    return table


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y, name=None: function(x, y)


def _getitem(tensor: Any, slice_spec: Any) -> Any:
    """``tensor[slice_spec]``; a slice is stored as ``{"start", "stop", "step"}``, an ellipsis as another dict."""
    specs = slice_spec if isinstance(slice_spec, list | tuple) else [slice_spec]
    return tensor[tuple(_index(spec) for spec in specs)]


def _index(spec: Any) -> Any:
    if isinstance(spec, dict) and {"start", "stop", "step"} <= set(spec):
        return slice(spec["start"], spec["stop"], spec["step"])
    if isinstance(spec, dict):
        return Ellipsis
    return spec
