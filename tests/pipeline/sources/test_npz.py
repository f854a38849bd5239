"""NumPy archives: damage is reported also without unpacking; a full disk isn't taken for damage."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import zipfile
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
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="one type throughout; got texts in y_test and numbers in y_train"):
        open_source(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (f"{{'descr':'|u1','fortran_order':False,'shape':({1 << 70},8,8,3)}}", "too large"),
        # NumPy would ask for the memory before it looks for the bytes.
        (f"{{'descr':'|u1','fortran_order':False,'shape':({10**14},)}}", "too large|greater than"),
        ("{'descr':'|u1','fortran_order':False,'shape':(-6,8,8,3)}", "negative|positive"),
        ("{'descr':'|u1','fortran_order':False,'shape':(True,8,8,3)}", "integer"),
        ("[" * 9_000, "."),
        ("-" * 9_000 + "1", "."),
        ("{'shape':" + "(" * 4_000 + ")" * 4_000 + "}", "."),
    ],
)
@pytest.mark.parametrize("damaged", ["images", "labels"])
def test_whatever_a_header_states_is_told_in_one_line(
    tmp_path: Path, header: str, fault: str, damaged: str
) -> None:
    path = tmp_path / "x.npz"
    text = header.encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(6 * 8 * 8 * 3)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("images", IMAGES), ("labels", np.arange(6) % 2)):
            file = io.BytesIO()
            np.save(file, content)
            archive.writestr(f"{name}.npy", array if name == damaged else file.getvalue())
    with pytest.raises(
        DataError, match=rf"x\.npz must be a whole \.npz file; reading it gave: .*{fault}"
    ) as e:
        open_source(str(path))
    assert len(str(e.value)) < 400
    assert "\n" not in str(e.value)


def test_archives_of_other_programs_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in (("images", IMAGES), ("labels", np.arange(6) % 2)):
            file = io.BytesIO()
            np.save(file, content)
            archive.writestr(f"{name}.npy", file.getvalue())
        start = archive.getinfo("images.npy").header_offset
    sound = path.read_bytes()
    assert len(open_source(str(path))) == 6
    damaged = bytearray(sound)
    damaged[start + 400] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"x\.npz must be a whole \.npz file; reading it gave: Corrupt input"):
        open_source(str(path))
    locked = bytearray(sound)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := locked.find(mark, at + 1)) >= 0:
            locked[at + flags] |= 1
    path.write_bytes(locked)
    with pytest.raises(DataError, match=r"x\.npz must be a whole \.npz file; .* is encrypted"):
        open_source(str(path))
