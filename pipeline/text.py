"""Text files as editors and spreadsheets write and read them, and strict JSON."""

from __future__ import annotations

import csv
import errno
import io
import json
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


def read_text(path: Path, *, errors: str = "strict") -> str:
    r"""Read a text file: UTF-8, with or without a byte order mark, or UTF-16 with one.

    Line ends become ``\n``.

    Parameters
    ----------
    errors
        What to do with bytes of other encodings, as in `bytes.decode`.

    Raises
    ------
    UnicodeDecodeError
        When it is of another encoding.
    OSError
        When it can't be read, or is no regular file.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        # Opening a FIFO would block. For a folder the system raises by itself.
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    return content.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    r"""Return rows as CSV, with line ends ``\n``; None is an empty cell."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def read_json(text: str) -> Any:
    """Read JSON strictly: no NaN or Infinity, no duplicate names in an object, no excessive nesting.

    Raises
    ------
    ValueError
        When the text isn't strict JSON.
    """
    return parsed(lambda one: json.loads(one, parse_constant=_refuse, object_pairs_hook=_object), text)


def parsed(parse: Callable[[str], Any], text: str) -> Any:
    """Return ``parse(text)``, as by `json.loads` or `tomllib.loads`.

    Raises
    ------
    ValueError
        When the text can't be parsed; also when it is nested too deeply, which Python's parsers don't count
        among faults of the text.
    """
    try:
        return parse(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON's")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return entries
