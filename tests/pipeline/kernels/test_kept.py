"""Compiled kernels on disk: loaded where all is as it was, compiled where anything is not."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

import pipeline.kernels.kept
import samplers.draws.kept
from pipeline.kernels.decode import make_kernels
from pipeline.kernels.kept import kernel_folder

pytestmark = pytest.mark.skipif(
    bool(getattr(numba.config, "DISABLE_JIT")),  # noqa: B009  (numba sets its options by name)
    reason="nothing is compiled",
)
CALLED = "from pipeline.kernels.kept import kernel\n\n@kernel\ndef step(x):\n    return x + {}\n"
CALLER = """
from pipeline.kernels.kept import kernel
from grains.called import step

@kernel(error_model="numpy")
def twice(x):
    return step(step(x))
"""


class Process:
    """The package ``grains`` as a process of its own would import it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "grains"
        self.folder.mkdir()
        (self.folder / "__init__.py").touch()
        (self.folder / "caller.py").write_text(CALLER)
        self.write(1)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.syspath_prepend(folder)

    def write(self, number: int) -> None:
        (self.folder / "called.py").write_text(CALLED.format(number))

    def call(self, x: float = 1) -> tuple[float, int]:
        """Return what the kernel returns, and how many of its signatures were loaded rather than compiled."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "grains"]:
            del sys.modules[name]
        kernel_folder.cache_clear()
        importlib.invalidate_caches()
        twice: Any = importlib.import_module("grains.caller").twice
        return twice(x), sum(twice.stats.cache_hits.values())


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    return Process(tmp_path, monkeypatch)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "caches").rglob("grains.caller*") if path.is_file())


def test_a_kernel_is_compiled_once_per_signature(process: Process, tmp_path: Path) -> None:
    assert [process.call(1), process.call(1)] == [(3, 0), (3, 1)]
    assert [process.call(1.5), process.call(1.5), process.call(1)] == [(3.5, 0), (3.5, 1), (3, 1)]
    assert len(files(tmp_path)) == 2
    assert {path.parent.parent for path in files(tmp_path)} == {
        tmp_path / "caches" / "budgetrain" / "grains-kernels"
    }


def test_a_change_of_what_a_kernel_calls_has_it_compiled_anew(process: Process) -> None:
    assert process.call() == (3, 0)
    process.write(10)
    assert process.call() == (21, 0)
    process.write(1)
    assert process.call() == (3, 1)


def test_another_processor_has_kernels_of_its_own(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    process.call()
    # None is the machine's own.
    other = None if getattr(numba.config, "CPU_NAME", None) == "generic" else "generic"
    monkeypatch.setattr(numba.config, "CPU_NAME", other)
    assert [process.call(), process.call()] == [(3, 0), (3, 1)]


@pytest.mark.parametrize("setting", [("NUMBA_BOUNDSCHECK", "1"), ("NUMBA_OPT", "1")])
def test_other_settings_of_numba_have_kernels_of_their_own(
    process: Process, monkeypatch: pytest.MonkeyPatch, setting: tuple[str, str]
) -> None:
    process.call()
    monkeypatch.setenv(*setting)
    assert process.call() == (3, 0)


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:-9], lambda content: content[:99] + b"?" + content[100:]],
    ids=["empty", "cut", "changed"],
)
def test_a_damaged_file_is_written_again(
    process: Process, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    process.call()
    for path in files(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
    assert [process.call(), process.call()] == [(3, 0), (3, 1)]


def test_without_a_folder_to_write_to_kernels_are_compiled(process: Process, tmp_path: Path) -> None:
    (tmp_path / "caches").touch()
    assert [process.call(), process.call()] == [(3, 0), (3, 0)]
    assert kernel_folder("grains") is None


def test_a_folder_of_another_user_is_not_used(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    process.call()
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert process.call() == (3, 0)


def test_a_folder_that_goes_while_it_is_used_does_no_harm(process: Process, tmp_path: Path) -> None:
    process.call()
    twice: Any = sys.modules["grains.caller"].twice
    for path in (tmp_path / "caches").rglob("grains.*"):
        path.unlink()
    (folder,) = (tmp_path / "caches" / "budgetrain" / "grains-kernels").iterdir()
    folder.rmdir()
    assert twice(2.5) == 4.5


def test_numbas_own_folder_of_caches_is_respected(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "own"))
    assert [process.call(), process.call()] == [(3, 0), (3, 1)]
    assert not (tmp_path / "caches").exists()
    assert len(list((tmp_path / "own").rglob("grains.caller*"))) == 1


def test_kernels_of_the_last_versions_are_kept(process: Process, tmp_path: Path) -> None:
    for number in range(12):
        process.write(number)
        process.call()
    kept = list((tmp_path / "caches" / "budgetrain" / "grains-kernels").iterdir())
    assert len(kept) == 8
    process.write(11)
    assert process.call() == (23, 1)


def test_kernels_made_for_several_kinds_of_images_have_a_name_each() -> None:
    made: list[Any] = [make_kernels(channels, depth) for channels in (1, 3) for depth in (1, 2)]
    names = {kernel.py_func.__qualname__ for kernels in made for kernel in (kernels.read, kernels.crop)}
    assert len(names) == 8


def test_samplers_keep_their_kernels_in_the_same_way() -> None:
    modules = (pipeline.kernels.kept, samplers.draws.kept)
    ours, theirs = (inspect.getsource(module) for module in modules)
    assert ours == theirs
