"""FFCV reads our files, and we read those that FFCV wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from beton_files import write
from drawn_sets import noise

from pipeline.formats import layout, open_dataset
from pipeline.formats.verify import verify

# FFCV runs in processes of its own: it forks, leaves threads behind, and warns.
FFCV_READS = """
import sys
import numpy as np
from ffcv.loader import Loader, OrderOption
target, *paths = sys.argv[1:]
found = {}
for path in paths:
    for os_cache in (True, False):
        options = {"num_workers": 1, "os_cache": os_cache, "order": OrderOption.SEQUENTIAL}
        loader = Loader(path, 4, **options)
        batches = [(np.array(images), np.array(labels)) for images, labels in loader]
        found[f"{path} {os_cache} images"] = np.concatenate([images for images, _ in batches])
        found[f"{path} {os_cache} labels"] = np.concatenate([labels for _, labels in batches])
np.savez(target, **found)
"""
FFCV_WRITES = """
import sys
import numpy as np
from ffcv.fields import FloatField, IntField, JSONField, NDArrayField, RGBImageField
from ffcv.writer import DatasetWriter

class Ramps:
    def __init__(self, more): self.more = more
    def __len__(self): return 250
    def __getitem__(self, index):
        axes = np.ogrid[:32, :24, :3]
        image = (2 * axes[0] + axes[1] + 20 * axes[2] + index // 2).astype(np.uint8)
        return (0.5, image, {"a": 1}, index % 7, np.zeros(3, np.float32)) if self.more else (image, index % 7)

for path, mode, more in ((sys.argv[1], "raw", False), (sys.argv[2], "proportion", True)):
    fields = {"image": RGBImageField(mode), "label": IntField()}
    if more:
        fields = {"weight": FloatField(), "picture": fields["image"], "extra": JSONField(),
                  "class": fields["label"], "vector": NDArrayField(np.dtype("float32"), (3,))}
    DatasetWriter(path, fields, num_workers=2).from_indexed_dataset(Ramps(more), chunksize=20)
"""


def run_ffcv(script: str, *arguments: Path, compiled: bool = True) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "NUMBA_DISABLE_JIT": str(int(not compiled))},
    )
    assert done.returncode == 0, done.stderr


def test_ffcvs_loader_reads_our_files(tmp_path: Path) -> None:
    raw_path, jpeg_path = tmp_path / "raw.beton", tmp_path / "jpeg.beton"
    # Four of these fill a page, so there are three.
    large = [noise(index, 700, 900) for index in range(12)]
    # Smooth, so that two JPEG decoders agree to within rounding; the first is gray.
    rows, columns, channels = np.ogrid[:32, :24, :3]
    ramps = [(4 * rows + 3 * columns + 5 * index * channels).astype(np.uint8) for index in range(8)]
    write(raw_path, large)
    write(jpeg_path, ramps, lambda index: True)
    assert open_dataset(raw_path).offsets.max() > 2 * layout.PAGE_SIZE
    run_ffcv(FFCV_READS, tmp_path / "found.npz", raw_path, jpeg_path)
    with np.load(tmp_path / "found.npz") as found:
        for os_cache in (True, False):
            np.testing.assert_array_equal(found[f"{raw_path} {os_cache} images"], np.stack(large))
            ours = np.stack([open_dataset(jpeg_path).image(index) for index in range(8)])
            np.testing.assert_allclose(found[f"{jpeg_path} {os_cache} images"], ours.astype(int), atol=3)
            for path in (raw_path, jpeg_path):
                assert (
                    found[f"{path} {os_cache} labels"].ravel().tolist() == open_dataset(path).labels.tolist()
                )


def test_files_that_ffcv_wrote_are_read(tmp_path: Path) -> None:
    raw_path, mixed_path = tmp_path / "raw.beton", tmp_path / "mixed.beton"
    # Its writer has little to compile, and its import 3 s.
    run_ffcv(FFCV_WRITES, raw_path, mixed_path, compiled=False)
    rows, columns, channels = np.ogrid[:32, :24, :3]
    images = [2 * rows + columns + 20 * channels + index // 2 for index in range(250)]
    for path in (raw_path, mixed_path):
        data = open_dataset(path)
        assert data.labels.tolist() == [index % 7 for index in range(250)]
        assert data.card.classes == tuple("0123456")
        assert data.card.class_counts == tuple(np.bincount(data.labels))
        assert (data.card.height, data.card.width, data.card.digest) == (32, 24, None)
        assert data.name(17) == "sample 17"
        assert verify(path).unaltered is None
        assert verify(path).sound
        for index in np.flatnonzero(~data.compressed):
            np.testing.assert_array_equal(data.image(int(index)), images[index])
        shown = np.stack([data.image(index) for index in range(250)]) / 255
        np.testing.assert_allclose(data.card.mean, shown.mean((0, 1, 2)), rtol=1e-9)
        np.testing.assert_allclose(data.card.std, shown.std((0, 1, 2)), rtol=1e-9)
    assert open_dataset(raw_path).card.encoding == "raw"
    data = open_dataset(mixed_path)
    assert data.card.encoding == "mixed"
    for index in np.flatnonzero(data.compressed):
        np.testing.assert_allclose(data.image(int(index)), images[index], atol=6)
