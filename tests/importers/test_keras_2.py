"""How Keras 2 wrote a graph, made what Keras 3 reads."""

from typing import Any

from edgekit.importers.tensorflow_worker.keras_2 import renumber_nested_calls, replace_names, spell_out_operands


def _model(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers), **more}}


def _layer(kind: str, name: str, *nodes: object) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "config": {"name": name}, "inbound_nodes": list(nodes)}


def test_calls_of_nested_models_count_from_zero() -> None:
    model = _model(
        _layer("Functional", "base", [["x", 0, 0, {}]], [["z", 0, 0, {}]]),
        _layer("Add", "sum", [["base", 1, 0, {}], ["base", 2, 0, {}], ["x", 1, 0, {}]]),
        output_layers=[["base", 2, 0]],
    )
    renumber_nested_calls(model)
    assert model["config"]["layers"][1]["inbound_nodes"] == [[["base", 0, 0, {}], ["base", 1, 0, {}], ["x", 1, 0, {}]]]
    assert model["config"]["output_layers"] == [["base", 1, 0]]


def test_slashes_in_names_are_replaced_without_clashes() -> None:
    model = _model(
        _layer("Conv2D", "a/b"),
        _layer("Conv2D", "a_b"),
        _layer("ReLU", "r", [["a/b", 0, 0, {}]]),
        output_layers=[["a/b", 0, 0]],
    )
    assert replace_names(model) == {"a_b_": "a/b"}
    names = [layer["config"]["name"] for layer in model["config"]["layers"]]
    assert names == ["a_b_", "a_b", "r"]
    assert model["config"]["layers"][2]["inbound_nodes"] == [[["a_b_", 0, 0, {}]]]
    assert model["config"]["output_layers"] == [["a_b_", 0, 0]]


def test_names_that_are_no_scopes_are_replaced() -> None:
    model = _model(_layer("InputLayer", "my image"), _layer("Conv2D", "größe (1): a", ["my image", 0, 0]))
    assert replace_names(model) == {"my_image": "my image", "gr__e__1___a": "größe (1): a"}
    assert model["config"]["layers"][1]["inbound_nodes"] == [["my_image", 0, 0]]


def test_operands_of_tensorflow_operators_become_inputs() -> None:
    model = _model(
        _layer("TFOpLambda", "add", ["x", 0, 0, {"y": ["z", 0, 0], "name": None}]),
        _layer("TFOpLambda", "scale", ["x", 0, 0, {"y": 3.0}]),
        _layer("TFOpLambda", "concat", [["x", 0, 0, {"axis": -1}], ["z", 0, 0, {}]]),
        _layer("TFOpLambda", "minus", ["_CONSTANT_VALUE", -1, 1, {"y": ["x", 0, 0]}]),
    )
    spell_out_operands(model)
    add, scale, concat, minus = model["config"]["layers"]
    assert add["inbound_nodes"] == [[["x", 0, 0, {}], ["z", 0, 0, {"name": None}]]]
    assert add["config"]["operands"] == ["y"]
    assert scale["inbound_nodes"] == [[["x", 0, 0, {"y": 3.0}]]]
    assert concat["inbound_nodes"] == [[["x", 0, 0, {}], ["z", 0, 0, {"axis": -1}]]]
    assert concat["config"]["listed"] is True
    assert minus["inbound_nodes"] == [[["x", 0, 0, {}]]]
    assert minus["config"]["constants"] == [1]
