"""Files that can't be decoded are named by what they are; images of formats that aren't read are counted."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources import ImageFolder, open_source
from pipeline.sources.unreadable import what_it_is


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros, as of a download"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        (b"\0\0\0\x1cftypavif" + bytes(99), "AVIF"),
        (b"\0\0\0\x1cftypisom" + bytes(99), "a video"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a pointer of Git LFS"),
        (b"\xff\xd8\xff\xee\0\x08Adobe\0\xff\xd9", "a JPEG whose header is damaged"),
        (b"PK\x03\x04" + bytes(99), "a zip archive"),
    ],
)
def test_a_file_that_is_no_image_is_named_by_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(content)
    with pytest.raises(CorruptSampleError, match=f"1.jpg must be a whole image file; .*it is {words}"):
        ImageFolder(tmp_path).read(0)


def test_what_is_not_known_is_not_named() -> None:
    assert what_it_is(b"hello") is None
    assert what_it_is(b"\0\1") is None


def test_images_of_other_formats_are_counted_apart(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded("PNG"))
    for name in ("a/2.HEIC", "b/2.heic", "b/3.avif", "b/notes.txt"):
        (tmp_path / name).touch()
    notes = ImageFolder(tmp_path).notes
    assert (
        "3 images of formats that aren't read (.heic, .avif) are left out: convert them to JPEG or PNG to "
        "take them"
    ) in notes
    assert "1 files that are no images by their endings are left out (.txt)" in notes
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).unlink()
    for targets in (None, "none"):
        with pytest.raises(DataError, match=r"3 images of formats that aren't read \(.heic, .avif\)"):
            open_source(str(tmp_path), targets=targets)


@pytest.mark.parametrize("name", ["p.tar.gz", "p.TGZ", "p.7z", "p.rar"])
def test_an_archive_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(
        DataError, match=r"(packed must be a .zip or .tar|must be uncompressed, .*); got .*: unpack it"
    ):
        open_source(str(tmp_path / name))
