import importlib.util
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgekit.benchmarking.elf import elf_abi
from edgekit.benchmarking.runner import build
from edgekit.benchmarking.runner.build import build_runner, can_build, host_abi
from edgekit.errors import DependencyError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiler() -> None:
    if build._host_compiler() is None:
        pytest.skip("no C compiler here")


def test_builds_once(compiler, cache):
    path = build_runner(host_abi(), for_this_machine=True)
    assert path.is_relative_to(cache)
    assert elf_abi(path) == host_abi()
    made = path.stat().st_mtime_ns
    assert build_runner(host_abi(), for_this_machine=True) == path
    assert path.stat().st_mtime_ns == made
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("missing", ["memfd_create", "aligned_alloc"])
def test_asks_for_no_function_that_android_had_not_always(missing, compiler, tmp_path):
    command = [*build._host_compiler(), "-std=c11", f"-D{missing}=not_in_this_library"]
    sources = [source for source in build._source_files() if source.suffix == ".c"]
    done = subprocess.run(
        [*command, *sources, "-o", tmp_path / "runner", "-ldl", "-lm"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_other_sources_are_another_program(compiler, cache, monkeypatch, tmp_path):
    path = build_runner(host_abi(), for_this_machine=True)
    changed = tmp_path / "sources"
    changed.mkdir()
    for source in build._source_files():
        (changed / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(build, "_SOURCES", changed)
    assert build_runner(host_abi(), for_this_machine=True) == path
    (changed / "main.c").write_text("int main(void) { return 17; }\n")
    other = build_runner(host_abi(), for_this_machine=True)
    assert other != path
    assert subprocess.run([other]).returncode == 17


def test_two_may_build_at_once(compiler, cache):
    with ThreadPoolExecutor() as pool:
        builds = [pool.submit(build_runner, host_abi(), for_this_machine=True) for _ in range(3)]
    paths = {each.result() for each in builds}
    assert len(paths) == 1
    assert subprocess.run([paths.pop(), "--nonsense"], capture_output=True).returncode == 2


def test_what_does_not_compile_leaves_nothing(compiler, cache, monkeypatch, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "main.c").write_text("int main(void) { return nonsense; }\n")
    monkeypatch.setattr(build, "_SOURCES", tmp_path / "bad")
    with pytest.raises(DependencyError, match=r"nonsense.*edgekit\[ssh\]"):
        build_runner(host_abi(), for_this_machine=True)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_no_compiler(cache, monkeypatch):
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not can_build(host_abi(), for_this_machine=True)
    with pytest.raises(DependencyError, match=r"no C compiler.*pip install 'edgekit\[ssh\]'"):
        build_runner("arm64-v8a", for_this_machine=False)


def test_a_cache_that_cannot_be_written(compiler, cache):
    cache.write_text("a file")
    with pytest.raises(DependencyError, match="XDG_CACHE_HOME"):
        build_runner(host_abi(), for_this_machine=True)


def test_the_compiler_of_the_machine_is_for_the_machine(monkeypatch):
    """Elsewhere the C library may be older than here: zig's is as old as is asked."""
    monkeypatch.setattr(build, "_host_compiler", lambda: ["cc"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    zig = [sys.executable, "-m", "ziglang", "cc", "-target"]
    assert build._compiler(host_abi(), for_this_machine=True) == ["cc"]
    assert build._compiler("arm64-v8a", for_this_machine=False) == [*zig, "aarch64-linux-gnu.2.28"]
    assert build._compiler("x86_64", for_this_machine=False) == [*zig, "x86_64-linux-gnu.2.28"]
    assert build._compiler("mips", for_this_machine=False) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert build._compiler(host_abi(), for_this_machine=False) == ["cc"]
    other = "arm64-v8a" if host_abi() != "arm64-v8a" else "x86_64"
    assert build._compiler(other, for_this_machine=False) is None


@pytest.mark.slow
@pytest.mark.parametrize("abi", ["arm64-v8a", "armeabi-v7a", "x86_64", "riscv64"])
def test_cross_builds(abi, cache):
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    path = build_runner(abi, for_this_machine=False)
    assert elf_abi(path) == abi
    assert path.stat().st_mode & stat.S_IXUSR
    assert b"GLIBC_2.34" not in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
