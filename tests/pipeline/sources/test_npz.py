"""NumPy archives: damage is told also where nothing is unpacked, a full disk isn't taken for damage."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.sources import open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def test_a_changed_pixel_is_told_where_images_are_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, images=IMAGES, labels=np.arange(6) % 2)
    assert len(open_source(str(path))) == 6
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz must be a whole \.npz file; reading it gave: Bad CRC-32"):
        open_source(str(path))


def test_a_folder_for_temporary_files_that_takes_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=IMAGES, labels=np.arange(6) % 2)
    line = r"folder for temporary files must take the [\d,]+ bytes of images\.npy.*name another by .* TMPDIR"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=line):
        open_source(str(path))
    monkeypatch.undo()

    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *arguments: object) -> None:
            pass

        def write(self, content: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(DataError, match=line):
        open_source(str(path))


def test_classes_may_be_bytes_or_numbers_and_labels_objects_of_none(tmp_path: Path) -> None:
    def opened(**arrays: Any) -> Any:
        np.savez(tmp_path / "x.npz", images=IMAGES, **arrays)
        return open_source(str(tmp_path / "x.npz"))

    labels = np.arange(6) % 2
    assert opened(labels=labels, classes=np.array([b"ant", b"bee"])).classes == ("ant", "bee")
    assert opened(labels=labels, classes=np.array([7, 8])).classes == ("7", "8")
    assert opened(labels=np.eye(3)[labels]).classes == ("0", "1", "2")
    with pytest.raises(
        DataError, match=r"labels\.npy of .* must be an array of numbers or texts; it holds Python"
    ):
        opened(labels=np.array(["a", None] * 3, object))
    arrays = {"x_train": IMAGES, "y_train": labels, "x_test": IMAGES, "y_test": np.array(["a", "b"] * 3)}
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match="one type throughout; got texts in y_test and numbers in y_train"):
        open_source(str(tmp_path / "x.npz"))
