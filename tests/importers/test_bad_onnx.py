"""Files that are no good ONNX models end in one clear line, whatever is wrong with them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from edgekit.errors import EdgekitError, ModelError
from edgekit.importers import import_model
from tests.importers import onnx_files
from tests.importers.onnx_files import SaveModel, run_imported

WEIGHT = np.arange(4096, dtype=np.float32).reshape(64, 64)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is no model\n", b"# Heading\n\nText.\n" * 50, b"\0" * 100, b"{}"]
)
@pytest.mark.parametrize("suffix", [".onnx", ".keras", ".h5", ".tflite"])
def test_files_of_something_else_say_what_was_expected(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="expected") as raised:
        import_model(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.onnx", "no such file"),
        ("model.pt", "torch.onnx.export"),
        ("model.xyz", r'unknown model format "\.xyz".*\.onnx, \.keras'),
        ("saved_model.pb", "give the SavedModel folder"),
    ],
)
def test_other_files_say_what_to_give(name: str, message: str, tmp_path: Path) -> None:
    if name != "missing.onnx":
        (tmp_path / name).write_bytes(b"something")
    with pytest.raises(ModelError, match=message):
        import_model(tmp_path / name)


@pytest.mark.parametrize("files", [[], ["readme.txt"], ["keras_metadata.pb"]])
def test_a_folder_that_is_no_saved_model(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=r"saved_model\.pb"):
        import_model(tmp_path)


def test_an_unreadable_file_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be read: Permission denied"):
        import_model(path)


@pytest.fixture
def external(save_model: SaveModel) -> Path:
    """A model whose weight lies beside it in weights.bin."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save_model(nodes, {"x": [1, 64]}, {"y": [1, 64]}, {"w": WEIGHT})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def _relocate(path: Path, location: str) -> None:
    proto = onnx.load(path, load_external_data=False)
    entries = proto.graph.initializer[0].external_data
    next(entry for entry in entries if entry.key == "location").value = location
    onnx.save(proto, path)


def test_external_data_is_read(external: Path) -> None:
    x = np.eye(64, dtype=np.float32)[:1]
    np.testing.assert_array_equal(run_imported(import_model(external).model, {"x": x})[0], WEIGHT[:1])


@pytest.mark.parametrize("location", ["/etc/hostname", "../weights.bin", "sub/../../weights.bin", "C:\\weights.bin"])
def test_external_data_may_not_leave_the_folder(external: Path, location: str) -> None:
    (external.parent.parent / "weights.bin").write_bytes((external.parent / "weights.bin").read_bytes())
    _relocate(external, location)
    with pytest.raises(ModelError, match='tensor "w" leaves the model') as raised:
        import_model(external)
    assert location in str(raised.value)


def test_a_link_out_of_the_folder_is_no_way_out(external: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "weights.bin"
    outside.write_bytes((external.parent / "weights.bin").read_bytes())
    (external.parent / "link.bin").symlink_to(outside)
    _relocate(external, "link.bin")
    with pytest.raises(ModelError, match="leaves the model's folder"):
        import_model(external)


def test_missing_and_short_external_data(external: Path) -> None:
    weights = external.parent / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match=r'"weights\.bin" has 100 bytes.*truncated'):
        import_model(external)
    weights.unlink()
    with pytest.raises(ModelError, match=r'"weights\.bin" of tensor "w" is missing'):
        import_model(external)


def _small_model(folder: Path) -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n"], ["u"], axes=[0]),
        helper.make_node("Concat", ["u", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["r", "shape"], ["y"]),
    ]
    constants = {"w": np.ones((2, 3, 3, 3), np.float32), "zero": np.array(0), "rest": np.array([-1])}
    path = folder / "source.onnx"
    onnx_files.save_model(path, nodes, {"x": ["N", 3, 4, 4]}, {"y": ["N", "F"]}, constants, opset=11, ir_version=6)
    return path.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_never_end_in_anything_but_our_errors(data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(_small_model(tmp_path))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(1, len(content) - 1))]
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    try:
        imported = import_model(path)
    except EdgekitError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
    else:
        assert imported.outputs
