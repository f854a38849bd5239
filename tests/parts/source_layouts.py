"""The files of every kind of source, laid out as they are published, twelve images a split."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from image_files import noise
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import DataError

SAMPLES = 12


def labels(classes: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, classes, SAMPLES, dtype=np.uint8)


def cifar10(folder: Path) -> None:
    folder = folder / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        batch = {"data": noise(number, SAMPLES, 3072), "labels": labels(10, number).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{i}" for i in range(10)]}, 2))


def cifar100(folder: Path) -> None:
    folder = folder / "cifar-100-python"
    folder.mkdir()
    for number, name in enumerate(("train", "test")):
        batch = {"data": noise(number, SAMPLES, 3072), "fine_labels": labels(100, number).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"c{i}" for i in range(100)]}, 2))


def fashion_mnist(folder: Path) -> None:
    folder = folder / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for number, name in enumerate(("train", "t10k")):
        images = struct.pack(">IIII", 2051, SAMPLES, 28, 28) + noise(number, SAMPLES, 28, 28).tobytes()
        numbers = struct.pack(">II", 2049, SAMPLES) + labels(10, number).tobytes()
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(numbers))


def svhn(folder: Path) -> None:
    def variable(name: bytes, array: NDArray[np.uint8]) -> bytes:
        data = array.tobytes(order="F")
        parts = [
            (6, struct.pack("<II", 9, 0)),
            (5, struct.pack(f"<{array.ndim}i", *array.shape)),
            (1, name),
            (2, data),
        ]
        inner = b"".join(
            struct.pack("<II", code, len(part)) + part + bytes(-len(part) % 8) for code, part in parts
        )
        return struct.pack("<II", 14, len(inner)) + inner

    for number, split in enumerate(("train", "test", "extra")):
        content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 256) + b"IM"
        content += variable(b"X", noise(number, 32, 32, 3, SAMPLES))
        content += variable(b"y", labels(10, number)[:, None] + np.uint8(1))
        (folder / f"{split}_32x32.mat").write_bytes(content)


def image_folder(folder: Path) -> None:
    for number in range(SAMPLES):
        for split in ("train", "test"):
            ending = ("jpg", "png")[number % 2]
            path = folder / "folder" / split / f"class {number % 3}" / f"{number}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(number, 20 + number, 30, 3)).save(path)


def save(path: Path, seed: int, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, 20 + seed % 7, 30, 3)).save(path, **options)  # type: ignore[arg-type]


def imagenette(folder: Path) -> None:
    for number in range(SAMPLES):
        for seed, split in enumerate(("train", "val")):
            wnid = ("n01440764", "n02102040", "n03888257")[number % 3]
            save(folder / "imagenette2-320" / split / wnid / f"{wnid}_{number}.JPEG", 100 * seed + number)


def imagenet(folder: Path) -> None:
    for number in range(SAMPLES):
        for seed, split in enumerate(("train", "val")):
            wnid = ("n02012849", "n03126707", "n01440764")[number % 3]
            save(folder / "imagenet" / split / wnid / f"{wnid}_{number}.JPEG", 100 * seed + number)
    synonyms = {"n02012849": ("crane",), "n03126707": ("crane",), "n01440764": ("tench", "Tinca tinca")}
    torch.save((synonyms, []), folder / "imagenet" / "meta.bin")


def food101(folder: Path) -> None:
    root = folder / "food-101"
    (root / "meta").mkdir(parents=True)
    for seed, split in enumerate(("train", "test")):
        listed: dict[str, list[str]] = {"apple_pie": [], "waffles": []}
        for number in range(SAMPLES):
            dish = ("apple_pie", "waffles")[number % 2]
            listed[dish].append(f"{dish}/{100 * seed + number}")
            save(root / "images" / dish / f"{100 * seed + number}.jpg", 100 * seed + number)
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))


def places365(folder: Path) -> None:
    root, scenes = folder / "places365", ("/a/abbey", "/b/bakery/shop", "/z/zoo")
    root.mkdir()
    rows = "".join(f"{scene} {number}\n" for number, scene in enumerate(scenes))
    (root / "categories_places365.txt").write_text(rows)
    train, val = [], []
    for number in range(SAMPLES):
        train.append(f"{scenes[number % 3]}/{number:08}.jpg {number % 3}")
        save(root / "data_256_standard" / f".{scenes[number % 3]}" / f"{number:08}.jpg", number)
        val.append(f"Places365_val_{number:08}.jpg {number * 2 % 3}")
        save(root / "val_256" / f"Places365_val_{number:08}.jpg", 100 + number)
    (root / "places365_train_standard.txt").write_text("\n".join(train))
    (root / "places365_val.txt").write_text("\n".join(val) + "\n")


def mini_imagenet(folder: Path) -> None:
    root = folder / "mini-imagenet"
    for part, name in enumerate(("train", "val", "test")):
        rows = ["filename,label"]
        for number in range(24):
            rows.append(f"n{part}{number % 2}{number:05}.jpg,n{part}{number % 2}")
            save(root / "images" / f"n{part}{number % 2}{number:05}.jpg", 100 * part + number)
        (root / f"{name}.csv").write_text("\n".join(rows) + "\n")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "fashion_mnist": fashion_mnist,
    "food101": food101,
    "imagenet": imagenet,
    "imagenette": imagenette,
    "mini_imagenet": mini_imagenet,
    "places365": places365,
    "svhn": svhn,
}


def npz(folder: Path) -> str:
    arrays = {"classes": np.array(["a", "b", "c"])}
    for seed, split in enumerate(("train", "test")):
        arrays[f"{split}_images"] = noise(seed, SAMPLES, 9, 7, 3)
        arrays[f"{split}_labels"] = labels(3, seed)
    np.savez(folder / "some.npz", **arrays)  # type: ignore[arg-type]
    return str(folder / "some.npz")


def encoded(seed: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(seed, 20 + seed % 7, 30, 3)).save(file, kind)
    return file.getvalue()


def parquet(folder: Path) -> str:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}
    for seed, split in enumerate(("train", "test")):
        for shard in range(2):
            numbers = range(1000 * seed + 100 * shard, 1000 * seed + 100 * shard + SAMPLES)
            kinds = [("JPEG", "PNG")[number % 2] for number in numbers]
            images = [{"bytes": encoded(*one), "path": "x"} for one in zip(numbers, kinds, strict=True)]
            table = pa.table({"image": images, "label": [number % 3 for number in numbers]})
            table = table.replace_schema_metadata(
                {"huggingface": json.dumps({"info": {"features": features}})}
            )
            path = folder / "hub" / "data" / f"{split}-{shard:05}-of-00002.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, row_group_size=5)
    return str(folder / "hub")


def tars(folder: Path) -> str:
    (folder / "shards").mkdir()
    for seed, split in enumerate(("train", "test")):
        for shard in range(2):
            with tarfile.open(folder / "shards" / f"{split}-{shard:04}.tar", "w") as tar:
                for number in range(1000 * seed + 100 * shard, 1000 * seed + 100 * shard + SAMPLES):
                    kind = ("jpg", "png")[number % 2]
                    add(tar, f"{number:06}.{kind}", encoded(number, {"jpg": "JPEG", "png": "PNG"}[kind]))
                    add(tar, f"{number:06}.cls", str(number % 3).encode())
    return str(folder / "shards")


def zipped(folder: Path) -> str:
    image_folder(folder)
    with zipfile.ZipFile(folder / "pets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "folder").rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    return str(folder / "pets.zip")


def packed(folder: Path) -> str:
    image_folder(folder)
    with tarfile.open(folder / "pets.tar", "w") as tar:
        tar.add(folder / "folder", "folder")
    return str(folder / "pets.tar")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


class Noise:
    """A data set as people write them for PyTorch."""

    classes = ("a", "b", "c")

    def __init__(self, split: str) -> None:
        if split not in ("train", "test"):
            raise DataError(f"the split of Noise must be one of train, test; got {split}")
        self.seed = 1000 * (split == "test")
        self.targets = [number % 3 for number in range(SAMPLES)]

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = noise(self.seed + index, 20, 30, 3)
        kinds = (Image.fromarray, np.asarray, lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1))
        return kinds[index % 3](image), self.targets[index]


def python_object(folder: Path) -> str:
    return f"{__name__}:Noise"


FILES: dict[str, Callable[[Path], str]] = {
    "npz": npz,
    "parquet": parquet,
    "tars": tars,
    "zipped": zipped,
    "packed": packed,
    "python_object": python_object,
}
