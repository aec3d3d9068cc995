"""``module:function``: the user's own code, called anew for each pass; what it does wrong is said."""

import sys
from itertools import count

import pytest

from edgekit.data import open_samples
from edgekit.errors import DataError
from edgekit.interface import TensorSpec

SPEC = TensorSpec("image", "float32", (1, 2, 3))
_numbers = count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into the working directory; gives a function that returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(code: str) -> str:
        name = f"user_data_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + code)
        return name

    return write


def test_a_generator_function_is_called_for_every_pass(module):
    name = module("def data():\n    for i in range(5):\n        yield {'image': np.full((2, 3), i)}")
    samples = open_samples(f"{name}:data", [SPEC])
    assert len(samples) == 5
    for _ in range(2):
        assert [float(sample["image"].max()) for sample in samples] == [0, 1, 2, 3, 4]
    assert samples.labels is None
    assert samples.sha256 == open_samples(f"{name}:data", [SPEC]).sha256


def test_labels_come_with_the_samples(module):
    name = module("def data():\n    return [{'image': np.ones((1, 2, 3)), 'y': i % 2} for i in range(4)]")
    assert open_samples(f"{name}:data", [SPEC]).labels.tolist() == [0, 1, 0, 1]


def test_an_endless_generator_with_a_limit(module):
    name = module("def data():\n    while True:\n        yield {'image': np.ones((2, 3))}")
    samples = open_samples(f"{name}:data", [SPEC], limit=7)
    assert len(samples) == len(list(samples)) == 7


def test_a_list_in_the_module_is_fine_as_well(module):
    name = module("data = [{'image': np.ones((2, 3))}] * 3")
    assert len(list(open_samples(f"{name}:data", [SPEC]))) == 3


ONE_SHOT = "used = ({'image': np.ones((2, 3))} for _ in range(4))\ndef data():\n    return used"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (ONE_SHOT, "gave 4 samples the first time and fewer the next time; every call must return a new iterable"),
        ("data = ({'image': 1} for _ in range(4))", "data is a generator; expected a function"),
        ("data = 3", "data is a int; expected a function"),
        ("other = 3", "has no such name"),
        ("def data():\n    return 3", "raised TypeError"),
        ("def data(path):\n    return []", "raised TypeError"),
        (
            "def data():\n    yield {'image': np.ones((2, 3))}\n    raise KeyError('oops')",
            "sample 1: raised KeyError: 'oops'",
        ),
        ("def data():\n    return []", "gave no samples"),
        ("def data():\n    yield np.ones((2, 3))", "sample 0 is a ndarray; expected a dict"),
        (
            "def data():\n    yield {'image': np.ones((2, 3))}\n    yield {'img': 1}",
            'sample 1 has "img"; the first has "image"',
        ),
        (
            "def data():\n    yield {'imag': np.ones((2, 3))}",
            'array "imag" is no input of the model; did you mean "image"',
        ),
        ("def data():\n    yield {'image': np.ones((32, 2, 3))}", r"shape \(32, 2, 3\).*looks like a batch of 32"),
        ("def data():\n    yield {'image': [[1, 2, None]] * 2}", "expected numbers"),
        ("def data():\n    yield {'image': np.full((2, 3), np.nan)}", 'array "image", sample 0: has NaN'),
        (
            "def data():\n    yield {'image': np.ones((2, 3)), 'y': 1}\n    yield {'image': np.ones((2, 3))}",
            '"y" must be in every',
        ),
        ("def data():\n    yield {'image': np.ones((2, 3)), 'y': -1}", "label 0 is -1"),
        ("import nothing_like_this", "raised ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("1 / 0", "importing user_data_.*raised ZeroDivisionError"),
        ("def data(:", "raised SyntaxError"),
        ("raise SystemExit(0)", "raised SystemExit"),
    ],
)
def test_what_user_code_does_wrong_is_said(module, code, message):
    name = module(code)
    with pytest.raises(DataError, match=message) as caught:
        list(open_samples(f"{name}:data", [SPEC]))
    assert str(caught.value).startswith(f"{name}:data: ")


def test_an_unknown_module(module):
    with pytest.raises(DataError, match='no module "nothing_here" in the working directory'):
        open_samples("nothing_here:data", [SPEC])
