"""A Keras model's configuration made safe and current: code refused, leftovers of Keras 2 removed, all in float32."""

from typing import Any

from edgekit.errors import ModelError
from edgekit.importers.tensorflow_worker.keras_tf_ops import TF_OP_LAYERS

_ADVICE = "export the model as a SavedModel instead: model.export(dir)"
_HALF_POLICIES = {"mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"}
_PYTHON_CODE = {"Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"}
MODELS = {"Functional": "keras.src.models.functional", "Sequential": "keras.src.models.sequential"}
_OLD_CLASSES = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
}
_LEFTOVERS: dict[str, tuple[object, ...]] = {
    "groups": (1,),
    "time_major": (False,),
    "renorm": (False,),
    "renorm_clipping": (None, {}),
    "renorm_momentum": (0.99,),
    "virtual_batch_size": (None,),
    "fused": (None, True, False),
    "adjustment": (None,),
    "implementation": (0, 1, 2),
    "input_length": (None,),
    "interpolation_order": (1,),
    "dynamic": (False,),
    "output_padding": (None,),
    "ragged": (False,),
}
"""Settings that Keras 2 wrote and Keras 3 does not know for a layer, with the values that change nothing."""

_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")
"""Settings that a trained model has no use for; Keras 2 wrote some of them for layers that do not take them."""


def clean_config(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` (a model's JSON, changed in place) as Keras 3 reads it, computing in float32.


    Raises ModelError for Python code, custom layers and quantized models; executes nothing.
    """
    _clean(config)
    return config


def _clean(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _clean(item)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("class_name"), str):
        _clean_object(value)
    for item in value.values():
        _clean(item)


def _clean_object(value: dict[str, Any]) -> None:
    config = value.get("config")
    name = config.get("name", "") if isinstance(config, dict) else ""
    value["class_name"] = _OLD_CLASSES.get(value["class_name"], value["class_name"])
    _refuse_code(value, name)
    _refuse_custom(value, name)
    _update_module(value)
    if isinstance(config, dict):
        _clean_dtype(config, name)
        if not _is_operation(str(value.get("module"))):
            _remove_leftovers(value["class_name"], config, name)


def _refuse_code(value: dict[str, Any], name: str) -> None:
    if value["class_name"] in _PYTHON_CODE:
        raise ModelError(
            f'layer "{name}" ({value["class_name"]}) holds Python code, which edgekit does not run: {_ADVICE}'
        )


def _refuse_custom(value: dict[str, Any], name: str) -> None:
    module, registered = value.get("module"), value.get("registered_name")
    kind = value["class_name"]
    custom = isinstance(registered, str) and ">" in registered
    if isinstance(module, str) and not _is_keras(module):
        custom = custom or module != "builtins" or kind == "function"
    if custom:
        raise ModelError(
            f'"{registered or kind}" {f"(layer {name!r}) " if name else ""}is custom Python code: {_ADVICE}'
        )
    if module is None and "config" in value and not _is_known(kind):
        raise ModelError(f'layer "{name}" is a {kind}, which Keras 3 does not have: {_ADVICE}')


def _is_keras(module: str) -> bool:
    return module.split(".")[0] in ("keras", "tf_keras") or module.startswith(
        ("tensorflow.keras", "tensorflow.python.keras")
    )


def _is_operation(module: str) -> bool:
    """Whether ``module`` has functions such as ``keras.ops.add``, saved under names that layers have too."""
    return "ops" in module.split(".")


def _is_known(kind: str) -> bool:
    import keras

    spaces = (
        keras.layers,
        keras.models,
        keras.initializers,
        keras.regularizers,
        keras.constraints,
        keras.dtype_policies,
    )
    return (
        kind.startswith("__")
        or kind in MODELS
        or kind in ("Policy", *TF_OP_LAYERS)
        or any(hasattr(space, kind) for space in spaces)
    )


def _update_module(value: dict[str, Any]) -> None:
    """Private module paths moved between Keras 2 and 3; public ones did not."""
    import keras

    module, kind = value.get("module"), value["class_name"]
    if not isinstance(module, str) or module == "builtins" or not _is_keras(module) or _is_operation(module):
        return
    if kind in MODELS:
        value["module"] = MODELS[kind]
        return
    for space in ("layers", "initializers", "regularizers", "constraints", "optimizers", "losses", "metrics"):
        if hasattr(getattr(keras, space), kind):
            value["module"] = f"keras.{space}"
            return


def _clean_dtype(config: dict[str, Any], name: str) -> None:
    policy = config.get("dtype")
    if isinstance(policy, dict):
        inner = policy.get("config")
        policy_name = inner.get("name") if isinstance(inner, dict) else None
        if "Quantized" in str(policy.get("class_name")) or "int8" in str(policy_name):
            raise ModelError(f'layer "{name}" is already quantized ({policy_name}); edgekit wants the float model')
        policy = policy_name
    if policy in _HALF_POLICIES:
        config["dtype"] = "float32"
    elif isinstance(policy, str) and policy.startswith("float"):
        config["dtype"] = policy


def _remove_leftovers(kind: str, config: dict[str, Any], name: str) -> None:
    import keras

    layer = getattr(keras.layers, kind, None)
    if layer is None or not isinstance(layer, type):
        return
    accepted = _parameters(layer)
    for key, harmless in _LEFTOVERS.items():
        if key not in config or key in accepted:
            continue
        if config[key] not in harmless:
            raise ModelError(
                f'layer "{name}" ({kind}) has {key}={config[key]!r}, which Keras 3 does not have: {_ADVICE}'
            )
        del config[key]
    for key in [key for key in config if key.endswith(_TRAINING_ONLY) and key not in accepted]:
        del config[key]
    axis = config.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _parameters(layer: type) -> set[str]:
    import inspect

    return set(inspect.signature(layer.__init__).parameters)  # type: ignore[misc]
