"""How Keras 2 wrote a model's graph, made what Keras 3 reads: the calls of nested models, and names with slashes."""

import re
from collections.abc import Mapping
from typing import Any

from edgekit.importers.tensorflow_worker.keras_config import MODELS
from edgekit.importers.tensorflow_worker.keras_tf_ops import TF_OP_LAYERS

_CONSTANT = "_CONSTANT_VALUE"
"""Where Keras 2 wrote ``[layer, call, tensor]`` for a tensor, it wrote ``[this, -1, value]`` for a number."""


_NOT_IN_SCOPES = re.compile(r"[^A-Za-z0-9_.>-]")


def spell_out_operands(model: dict[str, Any]) -> None:
    """Give the TensorFlow operators in ``model`` (changed in place) all their tensors as inputs.

    Given: ``["a", 0, 0, {"y": ["b", 0, 0], "axis": 1}]``
    Result: ``[["a", 0, 0, {}], ["b", 0, 0, {"axis": 1}]]``, and ``"operands": ["y"]`` in the layer's config
    """
    config = model.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        return
    for layer in config["layers"]:
        spell_out_operands(layer)
        if layer.get("class_name") in TF_OP_LAYERS and layer.get("inbound_nodes"):
            layer["inbound_nodes"] = [_spelled_out(node, layer["config"]) for node in layer["inbound_nodes"]]


def _spelled_out(node: list[Any], config: dict[str, Any]) -> list[Any]:
    single = isinstance(node[0], str)
    references = [node] if single else node
    arguments = {key: value for reference in references for key, value in (*reference[3:], {})[0].items()}
    operands = [key for key, value in arguments.items() if _is_reference(value)]
    constants = [reference[2] for reference in references if reference[0] == _CONSTANT]
    tensors = [reference for reference in references if reference[0] != _CONSTANT]
    tensors += [arguments.pop(key) for key in operands]
    config |= {"operands": operands, "listed": not single, "constants": constants}
    return [[*tensor[:3], arguments if tensor is tensors[-1] else {}] for tensor in tensors]


def _is_reference(value: Any) -> bool:
    return (
        isinstance(value, list) and value[:1] != [_CONSTANT] and [type(item) for item in value[:3]] == [str, int, int]
    )


def renumber_nested_calls(model: dict[str, Any]) -> None:
    """Count the calls of nested models from 0, as Keras 3 does; Keras 2 took a model's own construction as the first.

    ``model`` is changed in place.
    """
    config = model.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        return
    nested = {
        layer["config"]["name"]
        for layer in config["layers"]
        if layer.get("class_name") in MODELS and isinstance(layer.get("config"), dict) and "name" in layer["config"]
    }
    for layer in config["layers"]:
        _decrement_calls(layer.get("inbound_nodes"), nested)
        renumber_nested_calls(layer)
    for key in ("input_layers", "output_layers"):
        _decrement_calls(config.get(key), nested)


def _decrement_calls(reference: Any, nested: set[str]) -> None:
    """Find every ``[layer name, call, tensor, …]`` in nested lists, dicts and call arguments."""
    if isinstance(reference, dict):
        for value in reference.values():
            _decrement_calls(value, nested)
    if not isinstance(reference, list):
        return
    if (
        len(reference) >= 3
        and isinstance(reference[0], str)
        and reference[0] in nested
        and isinstance(reference[1], int)
    ):
        reference[1] = max(reference[1] - 1, 0)
    for item in reference:
        _decrement_calls(item, nested)


def replace_names(model: dict[str, Any]) -> dict[str, str]:
    """Rename layers whose name is none for a TensorFlow scope, in place; returns the old name of each new one.

    Keras 2 allowed slashes; Keras 3 allows spaces and all else, until the model is traced.
    """
    names = _layer_names(model)
    renamed: dict[str, str] = {}
    for name in sorted(name for name in names if _NOT_IN_SCOPES.search(name)):
        candidate = _NOT_IN_SCOPES.sub("_", name)
        while candidate in names or candidate in renamed.values():
            candidate += "_"
        renamed[name] = candidate
    if renamed:
        _rename(model, renamed)
    return {new: old for old, new in renamed.items()}


def _layer_names(model: Any) -> set[str]:
    if isinstance(model, list):
        return {name for item in model for name in _layer_names(item)}
    if not isinstance(model, dict):
        return set()
    found = {name for value in model.values() for name in _layer_names(value)}
    name = model["config"].get("name") if isinstance(model.get("config"), dict) else None
    return found | {name} if isinstance(name, str) else found


def _rename(value: Any, renamed: Mapping[str, str]) -> None:
    """Replace the names of layers (``"name": …``) and the references to them (``[name, call, tensor, …]``)."""
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            value[0] = renamed.get(value[0], value[0])
        for item in value:
            _rename(item, renamed)
    elif isinstance(value, dict):
        if isinstance(value.get("name"), str):
            value["name"] = renamed.get(value["name"], value["name"])
        for item in value.values():
            _rename(item, renamed)
