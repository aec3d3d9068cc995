"""Target profiles: the shipped ones are sound, and every mistake in a file is named with its nearest match."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ProfileError
from edgekit.interface import Layout, Precision
from edgekit.passes.prune import ImportanceName, PruningScheme
from edgekit.profiles.gate import Gate
from edgekit.profiles.target import FORMATS, list_targets, load_target

SHIPPED = ["android-arm64", "android-gpu", "linux-arm64", "x86-64", "x86-64-avx2"]

SMALL = """
description = "small"
formats = ["tflite"]
precision = "int8"
[tflite]
delegate = "xnnpack"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a folder for targets."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    return tmp_path / "targets"


def test_the_shipped_targets_are_sound(folder):
    assert [target.name for target in list_targets()] == SHIPPED
    for target in list_targets():
        assert set(target.runtimes) >= set(target.formats)
        assert target.description
        for format_ in target.formats:
            assert target.runtimes[format_].accelerator


def test_the_shipped_targets_say_what_the_runtimes_need(folder):
    arm, vnni, avx2, gpu = (load_target(name) for name in ("android-arm64", "x86-64", "x86-64-avx2", "android-gpu"))
    assert arm.formats == vnni.formats == avx2.formats == FORMATS
    assert arm.runtimes["onnx"].activation_dtype == "int8"
    assert vnni.runtimes["onnx"].activation_dtype == avx2.runtimes["onnx"].activation_dtype == "uint8"
    assert (arm.quantization.weight_bits, vnni.quantization.weight_bits, avx2.quantization.weight_bits) == (8, 8, 7)
    assert arm.runtimes["tflite"].layout is Layout.NHWC
    assert vnni.runtimes["tflite"].layout is avx2.runtimes["tflite"].layout is Layout.KEEP
    assert gpu.precision is Precision.FP16
    assert arm.runtimes["tflite"].is_asked
    assert not gpu.runtimes["tflite"].is_asked
    assert "CONV_2D" in gpu.runtimes["tflite"].accelerated_ops


def test_a_name_that_is_no_tflite_operator_is_nowhere(folder):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    known = set(vars(schema.BuiltinOperator))
    for target in list_targets():
        assert (target.runtimes["tflite"].accelerated_ops or set()) <= known


def test_the_scheme_of_another_precision(folder):
    target = load_target("x86-64-avx2")
    scheme = target.scheme(Precision.INT8_WEIGHTS)
    assert scheme.precision is Precision.INT8_WEIGHTS
    assert scheme.weight_bits == 7
    assert target.quantization.precision is Precision.INT8


def test_the_working_directory_hides_the_package(folder):
    (folder / "x86-64.toml").write_text(SMALL)
    (folder / "mine.toml").write_text(SMALL)
    assert load_target("x86-64").description == "small"
    assert [target.name for target in list_targets()] == sorted([*SHIPPED, "mine"])


def test_a_path_is_a_profile_too(folder, tmp_path):
    (tmp_path / "elsewhere.toml").write_text(SMALL)
    target = load_target(str(tmp_path / "elsewhere.toml"))
    assert (target.name, target.formats) == ("elsewhere", ("tflite",))
    with pytest.raises(ProfileError, match=r"nowhere\.toml: no such file"):
        load_target("nowhere.toml")


def test_extends_takes_what_is_not_said_from_the_other_profile(folder):
    (folder / "mine.toml").write_text(
        'extends = "x86-64"\n[gate]\nmin_cosine = 0.5\n[tflite]\naccelerated_ops = ["ADD"]'
    )
    mine, base = load_target("mine"), load_target("x86-64")
    assert mine.gate == replace(base.gate, min_cosine=0.5)
    assert mine.runtimes["tflite"].accelerated_ops == {"ADD"}
    assert mine.runtimes["onnx"].activation_dtype == "uint8"
    assert mine.runtimes["mnn"] == base.runtimes["mnn"]


def test_extends_in_a_circle(folder):
    (folder / "a.toml").write_text('extends = "b"')
    (folder / "b.toml").write_text('extends = "a"')
    with pytest.raises(ProfileError, match="does not lead back"):
        load_target("a")


def test_extends_a_path_relative_to_the_file_that_says_it(folder):
    (folder.parent / "base.toml").write_text(SMALL + "\n[gate]\nmin_cosine = 0.25")
    (folder / "mine.toml").write_text('extends = "../base.toml"')
    assert load_target("mine").gate.min_cosine == 0.25
    other = folder.parent / "other"
    other.mkdir()
    (other / "mine.toml").write_text('extends = "../targets/mine.toml"')
    assert load_target("other/mine.toml").gate.min_cosine == 0.25
    (folder.parent / "base.toml").write_text('extends = "targets/mine.toml"')
    with pytest.raises(ProfileError, match="does not lead back"):
        load_target("mine")


def test_a_profile_extends_the_packaged_one_of_its_own_name(folder):
    base = load_target("android-arm64")
    (folder / "android-arm64.toml").write_text('extends = "android-arm64"\n[gate]\nmin_cosine = 0.25')
    mine = load_target("android-arm64")
    assert mine.gate.min_cosine == 0.25
    assert mine.runtimes == base.runtimes
    (folder / "own.toml").write_text('extends = "own"')
    with pytest.raises(ProfileError, match="does not lead back"):
        load_target("own")


def test_a_profile_in_a_folder_that_may_not_be_searched(folder, monkeypatch):
    def refused(self, **_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(ProfileError, match=r"locked/mine.toml: cannot be read: Permission denied"):
        load_target("locked/mine.toml")


def test_how_channels_are_pruned_is_the_profiles(folder):
    (folder / "base.toml").write_text(SMALL + "[pruning]\nchannel_multiple = 12")
    (folder / "mine.toml").write_text('extends = "base"\n[pruning]\nimportance = "l1"')
    assert load_target("mine").pruning == PruningScheme(12, ImportanceName.L1)
    assert load_target("base").pruning == PruningScheme(12, ImportanceName.OBS)
    assert load_target("android-gpu").pruning.channel_multiple == 16


def test_an_error_in_the_extended_profile_names_that_profile(folder):
    (folder / "base.toml").write_text(SMALL + "formts = 3")
    (folder / "mine.toml").write_text('extends = "base"')
    with pytest.raises(ProfileError, match=r'base.toml: unknown key "formts" in \[tflite\]'):
        load_target("mine")


def test_an_unknown_target_shows_the_nearest(folder):
    with pytest.raises(
        ProfileError,
        match=r'unknown target "andriod-arm64"; did you mean "android-arm64"\? \(known: android-arm64, android-gpu, ',
    ) as caught:
        load_target("andriod-arm64")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL.replace("precision", "percision"), 'missing key "precision"; is "percision" a typo?'),
        ('percision = "int8"' + SMALL, 'unknown key "percision"; did you mean "precision"?'),
        (SMALL + 'layuot = "keep"', 'unknown key "layuot" in [tflite]; did you mean "layout"?'),
        (SMALL + "[quantisation]", 'unknown key "quantisation"; did you mean "quantization"?'),
        (SMALL + "[gate]\nmax_top_drop = 1", 'unknown key "max_top_drop" in [gate]; did you mean "max_top1_drop"?'),
        (SMALL + "[gate]\nmin_cosine = 7", '"min_cosine" in [gate] is 7; expected a number between -1 and 1'),
        (SMALL + "[gate]\nmin_cosine = nan", '"min_cosine" in [gate] is nan; expected a number between -1 and 1'),
        (SMALL + "[gate]\nmin_cosine = true", '"min_cosine" in [gate] is True; expected a number'),
        (SMALL + '[gate]\nmin_cosine = "1"', "expected a number"),
        (SMALL + "[quantization]\nweight_bits = 4", '"weight_bits" in [quantization] is 4; expected one of 8, 7'),
        (SMALL + '[quantization]\nobserver = "mmse"', 'expected one of "minmax", "mse"; did you mean "mse"?'),
        (SMALL + "[quantization]\nbias_correction = 1", "expected true or false"),
        (SMALL + "[pruning]\nchannel_multiple = 0", '"channel_multiple" in [pruning] is 0; expected a whole number'),
        (SMALL + "[pruning]\nchannel_multiple = 8.0", "expected a whole number of at least 1"),
        (SMALL + '[pruning]\nimportance = "obbs"', 'did you mean "obs"'),
        (SMALL + "[pruning]\nchannel_multipel = 8", 'unknown key "channel_multipel" in [pruning]; did you mean'),
        (SMALL + '[quantization]\nfloat_ops = "Conv"', "expected a list of texts"),
        (SMALL + '[quantization]\nfloat_ops = ["Conv", "Conv"]', 'has "Conv" twice'),
        (SMALL.replace("xnnpack", "xnpack"), 'did you mean "xnnpack"'),
        (SMALL.replace("int8", "int9"), '"precision" is \'int9\'; expected one of "int8"'),
        (SMALL.replace('["tflite"]', '["tflit"]'), '"formats" has "tflit"; expected one of'),
        (SMALL.replace('["tflite"]', "[]"), '"formats" is []; expected some of'),
        (SMALL.replace('["tflite"]', '"tflite"'), "expected a list of texts"),
        (SMALL.replace('["tflite"]', '["tflite", "onnx"]'), 'missing key "execution_provider" in [onnx]'),
        (SMALL.replace('"small"', '""'), "\"description\" is ''; expected a text"),
        (SMALL.replace('"small"', "3"), '"description" is 3; expected a text'),
        (SMALL.replace("[tflite]", "tflite = 3\n#"), "expected a table, written [tflite]"),
        (SMALL.replace('"small"', '"small'), "not valid TOML"),
        (SMALL.replace("[tflite]", "[tflite"), "line 5"),
        ("", 'missing key "formats"'),
    ],
)
def test_mistakes_are_named_with_file_and_key(folder, text, message):
    (folder / "foo.toml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_target("foo")
    assert str(caught.value).startswith("targets/foo.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text(folder):
    (folder / "foo.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load_target("foo")


@given(st.floats(0, 100))
def test_max_drop_replaces_every_other_limit(points):
    gate = Gate.of_max_drop(points)
    assert (gate.max_top1_drop, gate.min_top1_agreement) == (points, 100 - points)
    assert gate.min_cosine == gate.min_format_cosine == -1
    assert gate.min_format_agreement == 0


@given(st.floats(0, 100))
def test_max_drop_leaves_the_cosines_of_models_without_a_top1(points):
    gate = Gate.of_max_drop(points, Gate(min_cosine=0.9, min_format_cosine=0.8), classifies=False)
    assert (gate.min_cosine, gate.min_format_cosine) == ((-1, -1) if points == 100 else (0.9, 0.8))


def test_profiles_load_without_numpy_and_runtimes():
    code = (
        "import sys, json; from edgekit.profiles.target import list_targets; list_targets();"
        "from edgekit.profiles.device import list_devices; list_devices();"
        "import edgekit.profiles.calibration; print(json.dumps(sorted(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    heavy = {"numpy", "onnx", "onnx_ir", "onnxruntime", "MNN", "tensorflow", "ai_edge_litert", "PIL", "rich"}
    assert not heavy & set(json.loads(run.stdout))
