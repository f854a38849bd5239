"""The files in a tar, to its marked end: a truncated or damaged tar is never read as a shorter one."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import DataError, is_refused
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.whole import unreadable

_BLOCK = tarfile.BLOCKSIZE
_MARK = 2 * _BLOCK
"""Bytes of the mark of an end; many writers fill up to a whole record after it."""
_LONGEST_END = 1 << 20
"""Maximum number of empty bytes at a file's end: the largest record size in use."""
_READ_AT_ONCE = 1 << 20
_AGAIN = "get or make it again"


def tar_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yield the files of a tar in its order, without hidden ones: key, ending in lower case, and entry.

    A file's name is split where WebDataset does it; ``wanted`` returns whether an ending can be part of a
    sample. Files of other endings are yielded too, as long as they are files.

    Concatenated tars are read to the last. The end must be marked, by at least one
    empty block: tarfile takes whatever it can't read for the end, so that of a tar which is cut between two
    files nothing would seem to be missing. Other empty blocks than those that writers leave between two tars
    are holes, as of a download that didn't end, which may have been files.

    Raises
    ------
    DataError
        When the tar is damaged, cut off or compressed, has holes, or a link or a sparse file in place of a
        wanted file.
    """
    try:
        with path.open("rb") as file:
            start: int | None = 0
            while start is not None:
                file.seek(start)
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    for member in tar:
                        # The list of all members, which tarfile keeps, would outgrow everything else.
                        tar.members = []  # type: ignore[attr-defined]
                        key, ending = layout.split_name(member.name)
                        ending = ending.lower()
                        if key and not key.endswith("/") and _is_file(path, member, wanted(ending)):
                            yield key, ending, member
                    end = tar.offset
                file.seek(end)
                mark = file.read(_BLOCK)
                if mark.strip(b"\0"):
                    raise DataError(
                        f"{path} must be a whole tar file; it is damaged after {end:,} bytes: {_AGAIN}"
                    )
                if len(mark) < _BLOCK:
                    raise DataError(
                        f"{path} must be a whole tar file; it is cut off after {end:,} bytes, where the mark "
                        f"of its end is missing: {_AGAIN}, or add the mark if its writer left it out "
                        "(truncate -s +1024 FILE)"
                    )
                begun, start = start, _next_content(file, end)
                tail = 0 if start is not None else file.tell() - end
                if tail > _LONGEST_END:
                    raise DataError(
                        f"{path} must be a whole tar file; its last {tail:,} bytes are empty, as of a "
                        f"download that didn't end: {_AGAIN}, or cut them off if it is whole (truncate -s "
                        f"{end + _MARK} FILE)"
                    )
                if start is not None and start - end != _MARK and (start - begun) % tarfile.RECORDSIZE:
                    raise DataError(
                        f"{path} must be a whole tar file; it has a hole, as its bytes from {end:,} to "
                        f"{start:,} are empty: {_AGAIN}"
                    )
    except DataError:
        raise
    except Exception as error:  # Damaged headers make tarfile raise arbitrary exceptions.
        # Headers need hardly any memory, but may ask for terabytes of it where they are damaged.
        if is_refused(error) and not isinstance(error, MemoryError):
            raise unreadable(path, "a tar file", error) from None
        raise DataError(
            f"{path} must be a whole tar file, uncompressed; reading it gave: {_reason(path, error)}: "
            f"{_AGAIN}"
        ) from None


def _is_file(path: Path, member: tarfile.TarInfo, wanted: bool) -> bool:
    if wanted and (member.issym() or member.islnk()):
        raise DataError(
            f"{path} must hold files themselves; {member.name} is a link to {member.linkname}: pack it "
            "again, with tar's options --dereference --hard-dereference"
        )
    if wanted and member.issparse():
        raise DataError(
            f"{path} must hold files as they are; {member.name} is a sparse file of {member.size:,} bytes: "
            "pack it again, without tar's option --sparse"
        )
    return member.isreg() and not member.issparse()


def _next_content(file: BinaryIO, position: int) -> int | None:
    """Return the next block after ``position`` that isn't empty: where another tar begins."""
    file.seek(position)
    while content := file.read(_READ_AT_ONCE):
        rest = content.lstrip(b"\0")
        if rest:
            return position + (len(content) - len(rest)) // _BLOCK * _BLOCK
        position += len(content)
    return None


def _reason(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(6)
    kinds = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
    packed = next((kind for magic, kind in kinds.items() if start.startswith(magic)), None)
    fault = str(error) or type(error).__name__
    return fault if packed is None else f"it is compressed by {packed}; unpack it first"
