"""Zip archives as people have them: names, sizes and damages of every kind."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.formats import zip_archive
from pipeline.formats.zip_archive import ZipArchive

CONTENT = b"some bytes of an image" * 50


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_files_are_read_stored_and_deflated(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", **{"a/1.jpg": CONTENT, "b": b""})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("a/2.jpg", CONTENT[::-1])
        archive.mkdir("empty")
    found = ZipArchive(path)
    assert list(found.files) == ["a/1.jpg", "b", "a/2.jpg"]
    assert found.folders == {"empty"}
    assert [found.read(name) for name in found.files] == [CONTENT, b"", CONTENT[::-1]]


def test_an_archive_with_64_bit_sizes_and_counts_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number in range(5):
            with archive.open(f"{number}.jpg", "w", force_zip64=True) as file:
                file.write(CONTENT)
    assert b"PK\x06\x06" in (tmp_path / "x.zip").read_bytes()
    found = ZipArchive(tmp_path / "x.zip")
    assert [found.read(name) for name in found.files] == [CONTENT] * 5


@pytest.mark.parametrize(
    ("raw", "marked", "name"),
    [
        ("süß.jpg".encode(), True, "süß.jpg"),
        # As the Finder writes it, without a mark.
        ("süß.jpg".encode(), False, "süß.jpg"),
        ("süß.jpg".encode("cp437"), False, "süß.jpg"),
        # As .NET's older versions write it.
        (b"cats\\1.jpg", False, "cats/1.jpg"),
    ],
)
def test_names_are_what_their_packer_meant(tmp_path: Path, raw: bytes, marked: bool, name: str) -> None:
    path = zipped(tmp_path / "x.zip", **{"n" * len(raw): CONTENT})
    content = bytearray(path.read_bytes().replace(b"n" * len(raw), raw))
    central = content.index(b"PK\x01\x02")
    if marked:
        content[6:8] = content[central + 8 : central + 10] = struct.pack("<H", 0x800)
    path.write_bytes(content)
    found = ZipArchive(path)
    assert list(found.files) == [name]
    assert found.read(name) == CONTENT


def test_info_zips_field_for_the_name_goes_first(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("?.jpg")
    name = "зима.jpg".encode()
    field = b"\1" + struct.pack("<I", zlib.crc32(b"?.jpg")) + name
    entry.extra = struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry, CONTENT)
    assert list(ZipArchive(tmp_path / "x.zip").files) == ["зима.jpg"]


def encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def linked(path: Path) -> None:
    entry = zipfile.ZipInfo("1.jpg")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "elsewhere.jpg")


def otherwise_packed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 9
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (encrypted, "must not be encrypted; 1.jpg is: unpack it with its password"),
        (linked, "must hold files themselves; 1.jpg is a link: pack it again"),
        (otherwise_packed, "must be stored or compressed by deflate; 1.jpg is compressed by deflate64"),
    ],
)
def test_what_cant_be_read_is_said_by_the_directory(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    path = zipped(tmp_path / "x.zip", **{"1.jpg": CONTENT})
    spoil(path)
    with pytest.raises(DataError, match=said) as caught:
        ZipArchive(path).check("1.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_an_archive_that_is_cut_off_is_one_line(tmp_path: Path, cut: int) -> None:
    path = zipped(tmp_path / "x.zip", **{f"{number}.jpg": os.urandom(50) for number in range(9)})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"x.zip must be a whole zip archive; .*: get or make it again"):
        ZipArchive(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="must be a whole zip archive"):
        ZipArchive(path)


def test_damaged_files_are_never_taken_for_whole_ones(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", **{"1.jpg": os.urandom(500)})
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="doesn't match the archive's checksum"):
        ZipArchive(path).read("1.jpg")
    path.write_bytes(b"xx" + bytes(content[2:]))
    with pytest.raises(ValueError, match="damaged where it begins"):
        ZipArchive(path).read("1.jpg")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("1.jpg", b"one")
        archive.writestr("/1.jpg", b"two")
    with pytest.raises(DataError, match=r"must have a name of its own; there are two 1\.jpg"):
        ZipArchive(tmp_path / "x.zip")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that lie over one another, and one that claims less, or more, than it unpacks to."""
    path = zipped(tmp_path / "x.zip", **{"1.jpg": bytes(10_000_000)})
    monkeypatch.setattr(zip_archive, "LARGEST", 1 << 20)
    with pytest.raises(ValueError, match="must unpack to at most 1,048,576 bytes; this one has 10,000,000"):
        ZipArchive(path).read("1.jpg")
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="doesn't match"):
        ZipArchive(path).read("1.jpg")
    over = zipped(tmp_path / "over.zip", **{f"{number}.jpg": os.urandom(5000) for number in range(4)})
    content = bytearray(over.read_bytes())
    first = content.index(b"PK\x01\x02")
    for _ in range(4):
        # Each claims all that the archive holds.
        content[first + 20 : first + 24] = struct.pack("<I", 18_000)
        first = content.find(b"PK\x01\x02", first + 1)
    over.write_bytes(content)
    with pytest.raises(DataError, match=r"must lie one after another; .* as in a zip bomb"):
        ZipArchive(over)
