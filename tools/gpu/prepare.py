"""Collects packages and data for a GPU machine without network in a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.sources import data_directory
from tools.arguments import UsageError

PURE = (
    "tyro",
    "typeguard",
    "docstring-parser",
    "typing-extensions",
    "tomli-w",
    "pytest",
    "iniconfig",
    "pluggy",
)
"""Pure-Python packages that PyTorch machines usually lack: for the commands, and for the tests."""

SPLITS = ("train", "test")


def packages_of(folder: Path) -> Path:
    """Return the packages' folder in a prepared folder, for PYTHONPATH."""
    return folder / "packages"


def data_of(folder: Path) -> Path | None:
    """Return the training set of a prepared folder, if it has one."""
    train = folder / "cifar10" / "train.beton"
    return train if train.is_file() else None


def prepare(folder: Path, say: Callable[[str], None]) -> None:
    """Fill ``folder`` with packages and, if it has been converted here, CIFAR-10.

    Raises
    ------
    UsageError
        If the folder isn't empty, or pip can't download the packages.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--prepare must name a new or an empty folder; got {folder}: name another")
    packages = packages_of(folder)
    packages.mkdir(parents=True)
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # Independent of platform and Python version, so that they work on any machine.
    words += ["--platform", "any", "--implementation", "py", "--abi", "none", "--only-binary", ":all:"]
    done = subprocess.run([*words, "--target", str(packages), *PURE], capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["without a message"]
        raise UsageError(f"--prepare must get {len(PURE)} packages by pip; it ended with {last[0]}")
    say(f"packages: {', '.join(PURE)}")
    source = data_directory() / "cifar10"
    if not all((source / f"{split}.beton").is_file() for split in SPLITS):
        say(f"no CIFAR-10: {source} holds no train.beton and test.beton; the training will use drawn images")
        return
    (folder / "cifar10").mkdir()
    for split in SPLITS:
        for file in source.glob(f"{split}.*"):
            shutil.copy2(file, folder / "cifar10" / file.name)
    say(f"CIFAR-10, of {source}")
