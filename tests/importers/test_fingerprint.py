"""The identity of a source model."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from edgekit.importers import import_model
from edgekit.importers.fingerprint import model_sha256


def test_a_file_has_the_hash_that_everyone_computes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"content")
    assert model_sha256(path) == hashlib.sha256(b"content").hexdigest()


def test_a_folder_is_told_by_its_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for relative, content in files.items():
            path = tmp_path / name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return model_sha256(tmp_path / name)

    first = folder("first", {"a": "1", "variables/b": "2"})
    assert folder("moved", {"variables/b": "2", "a": "1"}) == first
    assert folder("renamed", {"a": "1", "variables/c": "2"}) != first
    assert folder("changed", {"a": "1", "variables/b": "3"}) != first
    assert folder("shifted", {"a": "12", "variables/b": ""}) != first


def test_external_data_are_part_of_an_onnx_model(tmp_path: Path) -> None:
    def saved(name: str, weight: float) -> str:
        array = np.full((4, 300), weight, np.float32)
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "graph",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 300])],
            [onnx.numpy_helper.from_array(array, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        folder = tmp_path / name
        folder.mkdir()
        onnx.save(model, folder / f"{name}.onnx", save_as_external_data=True, location="weights.bin")
        return import_model(folder / f"{name}.onnx").sha256

    first = saved("first", 1.0)
    assert saved("renamed", 1.0) == first
    assert saved("changed", 2.0) != first
    assert first != hashlib.sha256((tmp_path / "first" / "first.onnx").read_bytes()).hexdigest()
