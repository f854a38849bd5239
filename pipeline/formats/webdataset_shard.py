"""A tar shard being written, with DALI's index beside it."""

from __future__ import annotations

import os
import zlib
from io import BufferedRandom
from pathlib import Path

from pipeline.formats import disk
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.webdataset_layout import Member


class ShardWriter:
    """A tar file to which files are appended, or found to be there already.

    Bytes of an earlier writer stay until they are overwritten; `end` truncates the rest.

    Attributes
    ----------
    size
        Bytes so far.
    samples
        For each sample its files' names, offsets and sizes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.file: BufferedRandom = os.fdopen(descriptor, "r+b")
        self.size = 0
        self.samples: list[list[tuple[str, int, int]]] = []

    def begin_sample(self) -> None:
        """Start the next sample."""
        self.samples.append([])

    def append(self, member: Member, content: bytes) -> int:
        """Write a file, and return the offset of its content."""
        self._write(b"".join((member.head, content, bytes(member.padding))))
        return self._account(member)

    def take_over(self, member: Member, checksum: int) -> tuple[int, bool]:
        """Record a file, and return the offset of its content and whether it is there, with this CRC-32."""
        self.file.seek(self.size)
        found = self.file.read(member.length)
        start, stop = len(member.head), len(member.head) + member.size
        sound = len(found) == member.length and found[:start] == member.head and not any(found[stop:])
        return self._account(member), sound and zlib.crc32(found[start:stop]) == checksum

    def end(self) -> int:
        """End the tar file, write its index, sync to disk, and return the file's size."""
        size = layout.ended(self.size)
        self._write(bytes(size - self.size))
        self.file.truncate()
        self.file.flush()
        disk.sync(self.file.fileno())
        write_synced(index_path(self.path), layout.index_text(self.samples).encode())
        self.file.close()
        return size

    def _write(self, content: bytes) -> None:
        # Seeking flushes the buffer, so it is avoided when the file is at that position already.
        if self.file.tell() != self.size:
            self.file.seek(self.size)
        self.file.write(content)

    def _account(self, member: Member) -> int:
        offset = self.size + len(member.head)
        self.samples[-1].append((member.name, offset - member.prefix, member.prefix + member.size))
        self.size += member.length
        return offset


def index_path(shard: Path) -> Path:
    """Return the path of a shard's index."""
    return shard.with_suffix(".idx")


def write_synced(path: Path, content: bytes) -> None:
    """Write a file within a partial folder, and sync it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        disk.sync(file.fileno())
