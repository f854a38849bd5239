"""Folders that can't be renamed: on a container's root, those of the layers beneath (EXDEV)."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.formats.partial_folder import PartialFolder, remove_stale_folder
from pipeline.sources import ArraySource


def write(path: Path, count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    source = ArraySource("x", "train", "x", ("a", "b"), np.arange(count) % 2, images)
    convert(source, path, ConvertOptions(overwrite=True))


class Overlay:
    """Refuses to rename the folders of a lower layer; counts changes and ends the process after ``most``."""

    def __init__(self, patch: pytest.MonkeyPatch, lower: list[Path], most: int | None = None) -> None:
        self.lower = {path.stat().st_ino for path in lower}
        self.changes = 0
        self.most = most
        for name in ("replace", "unlink", "rmdir"):
            patch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def change(path: Any, *arguments: Any, **options: Any) -> None:
            if self.most is not None and self.changes >= self.most:
                os._exit(9)
            if name == "replace" and Path(path).stat().st_ino in self.lower:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
            self.changes += 1
            real(path, *arguments, **options)

        return change


def test_a_data_set_of_a_lower_layer_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.wds", 6)
    Overlay(monkeypatch, [tmp_path / "x.wds"])
    write(tmp_path / "x.wds", 8)
    assert len(open_dataset(tmp_path / "x.wds")) == 8
    assert not list(tmp_path.glob(".*"))


def test_wherever_its_replacement_is_killed_one_of_both_stands(tmp_path: Path) -> None:
    found = []
    for most in range(100):
        path = tmp_path / str(most) / "x.wds"
        path.mkdir(parents=True)
        for name in "abc":
            (path / name).write_text("old")
        child = os.fork()
        if child == 0:
            with pytest.MonkeyPatch.context() as patch:
                Overlay(patch, [path], most)
                new = PartialFolder(path)
                for name in "abcd":
                    (new.folder / name).write_text("new")
                new.publish()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9)
        remove_stale_folder(path)
        kinds = sorted({(entry.read_text(), len(list(path.iterdir()))) for entry in path.iterdir()})
        assert kinds in ([("old", 3)], [("new", 4)])
        found += kinds
        assert not list(path.parent.glob(".*"))
        if status == 0:
            break
    assert len(found) > 6
    # The old one until the new one has its name.
    assert found == sorted(found, reverse=True)
    assert found[-1] == ("new", 4)


def test_on_a_real_overlay(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    mount = (
        f"mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay {tmp_path}/merged"
    )
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tried = subprocess.run([*unshare, mount], cwd=tmp_path, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no overlay can be mounted here: {tried.stderr.strip()}")
    write(tmp_path / "lower/x.wds", 6)
    again = f"{sys.executable} {__file__} {tmp_path}/merged/x.wds"
    made = subprocess.run(
        [*unshare, f"{mount} && {again}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr


if __name__ == "__main__":
    write(Path(sys.argv[1]), 8)
    sys.exit(len(open_dataset(Path(sys.argv[1]))) != 8)
