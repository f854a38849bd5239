"""Names of files that can't be decoded, by their first bytes, and of image formats that aren't read."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter

UNREAD = (
    ".avif", ".avifs", ".cr2", ".cr3", ".dng", ".arw", ".dcm", ".dds", ".exr", ".hdr", ".heic", ".heif",
    ".ico", ".j2k", ".jp2", ".jxl", ".nef", ".nii", ".orf", ".pcx", ".psd", ".raf", ".rw2", ".svg", ".tga",
)  # fmt: skip
"""Endings of images whose formats aren't read."""

_FTYP = slice(4, 8)
_BRAND = slice(8, 12)
_BRANDS = {
    b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF",
    b"avis": "AVIF",
}  # fmt: skip
"""Major brands of the file format that HEIC and AVIF share with MP4."""
_STARTS = (
    (b"\xff\xd8\xff", "a JPEG whose header is damaged"),
    (b"\x89PNG\r\n\x1a\n", "a PNG whose header is damaged"),
    (b"GIF8", "a GIF whose header is damaged"),
    (b"II*\0", "a TIFF whose header is damaged, or a camera's raw file"),
    (b"MM\0*", "a TIFF whose header is damaged, or a camera's raw file"),
    (b"RIFF", "a WebP whose header is damaged, or sound or video"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"<", "a web page or other XML, as of a download that was refused"),
    (b"version https://git-lfs", "a pointer of Git LFS, for which `git lfs pull` fetches the file"),
)
_LOOKED_AT = 512


def unread(endings: Counter[str]) -> tuple[Counter[str], Counter[str]]:
    """Part counts of files by their endings into images whose formats aren't read, and other files."""
    images = Counter({ending: count for ending, count in endings.items() if ending in UNREAD})
    return images, endings - images


def what_it_is(content: bytes) -> str | None:
    """Return what a file is that can't be decoded, in words; None where that isn't known.

    Parameters
    ----------
    content
        The file, or its first 512 bytes.
    """
    begin = content[:_LOOKED_AT].removeprefix(BOM_UTF8)
    if not begin.strip(b"\0"):
        return "zeros, as of a download or a disk that failed" if begin else "empty"
    if begin[_FTYP] == b"ftyp":
        return _BRANDS.get(begin[_BRAND], "a video")
    return next((words for start, words in _STARTS if begin.lstrip().startswith(start)), None)
