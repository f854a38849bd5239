"""The files in a zip archive, read where they lie, without unpacking it to a disk."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

from pipeline.errors import DataError, is_refused, one_line
from pipeline.formats.whole import unreadable

LARGEST = 1 << 30
"""Bytes of an unpacked file, at most: a few kilobytes may claim to be many gigabytes of zeros."""
_AGAIN = "get or make it again"
_HEADER = struct.Struct("<4s22xHH")
"""Of a file's own header: its mark, and the lengths of the name and of the further fields that follow."""
_MARK = b"PK\x03\x04"
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNICODE_PATH = 0x7075
_MADE_ON_UNIX = 3
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflate"}
_OTHERS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd"}


class ZipArchive:
    """A zip archive, also of more than 4 GiB (zip64), whose directory is in memory and whose files aren't.

    Names are UTF-8 where the archive says so, or where they are it, as macOS writes them; else those of code
    page 437. Reading is safe from several threads.

    Parameters
    ----------
    path
        The archive.

    Attributes
    ----------
    path
        The archive.
    files
        Its files by their names, with ``/`` between folders, in the order of its directory.
    folders
        Names of folders that have entries of their own.

    Raises
    ------
    DataError
        When the archive is cut off or damaged, two of its files have one name, or the files claim to lie over
        one another, as in a zip bomb.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, zipfile.ZipInfo] = {}
        self.folders: set[str] = set()
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                size = file.seek(0, 2)
        except Exception as error:  # Damaged directories make zipfile raise arbitrary exceptions.
            if is_refused(error) and not isinstance(error, MemoryError):
                raise unreadable(path, "a zip archive", error) from None
            fault = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{path} must be a whole zip archive; reading its directory gave: {fault}: {_AGAIN}"
            ) from None
        for entry in entries:
            name = within(_name(entry).replace("\\", "/"))
            if entry.is_dir() or entry.orig_filename.endswith("\\"):
                self.folders.add(name)
                continue
            if name in self.files:
                raise DataError(
                    f"every file of {path} must have a name of its own; there are two {one_line(name)}: pack "
                    "it again"
                )
            self.files[name] = entry
        packed = sum(entry.compress_size for entry in self.files.values())
        if packed > size:
            raise DataError(
                f"the files of a zip archive must lie one after another; those of {path}, {size:,} bytes, "
                f"claim {packed:,}, as in a zip bomb: {_AGAIN}"
            )

    def check(self, name: str) -> None:
        """Check by the directory that a file can be read.

        Raises
        ------
        DataError
            When it is encrypted, a link, or compressed in a way that isn't read.
        """
        entry, shown = self.files[name], one_line(name)
        if entry.flag_bits & _ENCRYPTED:
            raise DataError(
                f"{self.path} must not be encrypted; {shown} is: unpack it with its password, and give the "
                "folder"
            )
        if entry.create_system == _MADE_ON_UNIX and stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(
                f"{self.path} must hold files themselves; {shown} is a link: pack it again, without zip's "
                "option --symlinks"
            )
        if entry.compress_type not in _METHODS:
            method = _OTHERS.get(entry.compress_type, f"method {entry.compress_type}")
            raise DataError(
                f"files of {self.path} must be stored or compressed by deflate; {shown} is compressed by "
                f"{method}: pack it again, by zip -r, or unpack it and give the folder"
            )

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        OSError
            When the archive can't be read.
        ValueError
            When the file is damaged, or unpacks to more than `LARGEST` bytes.
        """
        entry = self.files[name]
        if entry.file_size > LARGEST:
            raise ValueError(
                f"a file must unpack to at most {LARGEST:,} bytes; this one has {entry.file_size:,}"
            )
        with self.path.open("rb") as file:
            file.seek(entry.header_offset)
            header = file.read(_HEADER.size)
            mark, *lengths = _HEADER.unpack(header) if len(header) == _HEADER.size else (b"", 0, 0)
            if mark != _MARK:
                raise ValueError("the archive is damaged where it begins")
            file.seek(sum(lengths), 1)
            content = file.read(entry.compress_size)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            # Bounded, whatever the directory claims.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, entry.file_size + 1)
        if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
            raise ValueError("it doesn't match the archive's checksum")
        return content


def within(name: str) -> str:
    """Return the name of a file in an archive without what leads out of it, or nowhere.

    >>> within("./a//b.jpg"), within("/../c.jpg")
    ('a/b.jpg', 'c.jpg')
    """
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a file's name as its packer meant it; zipfile takes names without a mark for code page 437."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    raw = entry.orig_filename.encode("cp437", "replace")
    extra = entry.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        # Info-ZIP's: a version, a checksum of the name that it stands for, and the name.
        if kind == _UNICODE_PATH and field[:1] == b"\1" and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            raw = field[5:]
    try:
        return raw.decode()
    except UnicodeError:
        return entry.filename
