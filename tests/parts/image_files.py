"""Small image files of seeded noise, and archives of them."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(seed: int, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(seed, 12, 16, 3)).save(file, kind, **options)
    return file.getvalue()


def save(path: Path, seed: int = 0, shape: tuple[int, ...] = (12, 16, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, *shape)).save(path)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


CIFAR10_NAMES = [f"thing {label}" for label in range(10)]


def write_cifar10(folder: Path, protocol: int = 2) -> tuple[NDArray[np.uint8], list[int]]:
    """Lay out 25 images as CIFAR-10's pickles; give the training images (channels first) and labels."""
    folder.mkdir(parents=True)
    images, labels = noise(0, 30, 3072), np.random.default_rng(1).integers(0, 10, 30).tolist()
    parts = {f"data_batch_{i}": slice(5 * (i - 1), 5 * i) for i in range(1, 6)} | {
        "test_batch": slice(25, 30)
    }
    for name, part in parts.items():
        batch = {"data": images[part], "labels": labels[part], "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CIFAR10_NAMES}, protocol))
    return images.reshape(-1, 3, 32, 32), labels
