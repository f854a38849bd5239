"""Journal of a conversion's progress on disk, so that a killed conversion resumes where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, machine_fault
from pipeline.formats.whole import unwritable

_SCHEMA = 1
_FRAME = struct.Struct("<II")
"""Before every record: its length in bytes and their CRC-32."""


def journal_path(out: Path) -> Path:
    """Return the path of the journal of a conversion into ``out``: a hidden file beside it.

    Raises
    ------
    DataError
        When ``out`` has no name, as the current folder has none.
    """
    if not out.name:
        raise DataError(
            f"a converted data set must have a name; got {str(out)!r}: name one such as train.beton"
        )
    return out.with_name(f".{out.name}.journal")


class Journal:
    """Records of a conversion, each whole or absent.

    The first record identifies source and options. A journal of another conversion, or one that is damaged,
    counts as empty from there on.

    Parameters
    ----------
    out
        The data file that is converted into.
    conversion
        Everything that the bytes of the data file depend on.
    """

    def __init__(self, out: Path, conversion: dict[str, Any]) -> None:
        self.path = journal_path(out)
        text = json.dumps(conversion, sort_keys=True).encode()
        head = {"schema": _SCHEMA, "conversion": hashlib.sha256(text).hexdigest()}
        self._head = zlib.compress(json.dumps(head).encode())
        self._file: BufferedRandom | None = None
        try:
            found = _split(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            found = []
        except OSError as error:
            raise machine_fault(str(self.path), error) or DataError(
                f"{self.path} must be readable, or not be there; got {error.strerror or error}: remove "
                "it, or name another file to write"
            ) from None
        self._records = found[1:] if found and found[0] == self._head else []

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Return the records of an earlier conversion of the same source with the same options."""
        # One by one: those of a million images would take a gigabyte as dictionaries.
        return (json.loads(zlib.decompress(record)) for record in self._records)

    def keep(self, count: int) -> None:
        """Forget all records but the first ``count``."""
        del self._records[count:]

    def start(self) -> None:
        """Open for writing, after the records that are kept."""
        kept = [self._head, *self._records]
        end = sum(_FRAME.size + len(record) for record in kept)
        try:
            if self._records:
                self._file = self.path.open("r+b")
                self._file.truncate(end)
                self._file.seek(end)
            else:
                self._file = self.path.open("w+b")
                self._write(self._head)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def add(self, record: dict[str, Any]) -> None:
        """Append a record, and flush it to the operating system."""
        self._write(zlib.compress(json.dumps(record).encode(), 1))

    def close(self) -> None:
        """Close the journal, and keep it for a conversion that resumes."""
        if self._file is not None:
            # After a failed write the buffer is flushed, and fails, once more; that record isn't whole.
            with contextlib.suppress(OSError):
                self._file.close()

    def discard(self) -> None:
        """Remove the journal."""
        self.close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def _write(self, content: bytes) -> None:
        if self._file is None:
            raise AssertionError("a journal must be started before it is written to")
        try:
            self._file.write(_FRAME.pack(len(content), zlib.crc32(content)) + content)
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from None


def _split(content: bytes) -> list[bytes]:
    """Return the records up to the first that isn't whole, packed as they are."""
    records, position = [], 0
    while position + _FRAME.size <= len(content):
        size, checksum = _FRAME.unpack_from(content, position)
        record = content[position + _FRAME.size : position + _FRAME.size + size]
        if len(record) != size or zlib.crc32(record) != checksum:
            break
        records.append(record)
        position += _FRAME.size + size
    return records
