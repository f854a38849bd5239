"""The text of a CSV: its encoding, separator, columns and rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.formats.whole import unreadable
from pipeline.text import read_text

Rows = list[dict[str, str]]


def read_table(path: Path) -> tuple[list[str], Rows]:
    """Return the names of a CSV's columns and its rows, cells without the spaces around them.

    Raises
    ------
    DataError
        When it can't be read, is in another encoding, or its rows don't fit its columns.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise unreadable(path, "a CSV", error) from None
    except UnicodeDecodeError as error:
        raise _not_unicode(path, f"byte {error.object[error.start]:#x} at {error.start:,} isn't") from None
    if "\0" in text:
        raise _not_unicode(path, "it holds NUL characters")
    reader = csv.reader(io.StringIO(text), delimiter=_separator(path, text), strict=True)
    try:
        header, *lines = [[cell.strip() for cell in line] for line in reader if line]
    except csv.Error as error:
        raise DataError(
            f"{path} must be a CSV; got {error}, in the row that begins above line {reader.line_num:,}: "
            "mend its quotes"
        ) from None
    except ValueError:
        raise DataError(f"{path} must hold a row of column names and a row per image; it is empty") from None
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path} must have columns with names of their own; two are called {twice!r}: rename one"
        )
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise DataError(
                f"{path} must have a cell per column in every row; row {number:,} has {len(line)} of "
                f"{len(header)}: put cells with separators in them into quotes"
            )
    return header, [dict(zip(header, line, strict=True)) for line in lines]


def _separator(path: Path, text: str) -> str:
    """Return what separates cells: a tab in a .tsv, else the first of ``, ; |`` or tab in the names' row."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = text.partition("\n")[0]
    return next((one for one in (",", ";", "\t", "|") if one in first), ",")


def _not_unicode(path: Path, fault: str) -> DataError:
    name = one_line(path.name)
    return DataError(
        f"{one_line(str(path))} must be in UTF-8, or in UTF-16 with a byte order mark; {fault}: save it "
        f"so, as by iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8-{name}"
    )
