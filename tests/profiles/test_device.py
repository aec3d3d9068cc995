"""Device profiles."""

import pytest

from edgekit.errors import ProfileError
from edgekit.profiles.device import list_devices, load_device


def test_this_machine_is_a_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [device.name for device in list_devices()] == ["local"]
    assert load_device("local").kind == "local"
    assert load_device("local").threads >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('description = "a"\nkind = "lokal"', 'expected one of "local", "adb", "ssh"; did you mean "local"?'),
        ('description = "a"\nkind = "local"\nthreads = 0', "expected a whole number of at least 1"),
        ('description = "a"\nkind = "local"\nthreads = 1.5', "expected a whole number of at least 1"),
        ('description = "a"\nkind = "local"\nthreds = 1', 'unknown key "threds"; did you mean "threads"?'),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/foo.toml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_device("foo")
    assert message in str(caught.value)
    with pytest.raises(ProfileError, match='unknown device "locl"; did you mean "local"'):
        load_device("locl")
