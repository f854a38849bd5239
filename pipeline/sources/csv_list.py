"""Images that a CSV lists, with their classes, labels or values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import DataError, one_line
from pipeline.sources.class_names import listed
from pipeline.sources.csv_text import Rows, read_table
from pipeline.sources.image_files import ImageFiles
from pipeline.sources.splits import plain_split, split_in_words
from pipeline.sources.target_values import read_targets
from pipeline.targets import TargetKind

ENDINGS = (".csv", ".tsv")
_IMAGES = ("image", "file_name", "filename", "file", "path", "image_path", "image_name")
_SPLITS = ("split", "subset")
_TARGETS: dict[TargetKind, tuple[str, ...]] = {
    "class": ("label", "class", "target", "category"),
    "multi_label": ("labels", "label", "tags", "classes"),
    "value": ("value", "target", "label"),
    "none": (),
}
_NAMES_OF: dict[TargetKind, tuple[str, ...]] = {
    "multi_label": ("labels", "tags", "classes"),
    "value": ("value",),
}
"""Columns whose names say of which kind the targets in them are."""
_SEPARATORS = (";", "|", ",")


class CsvList(ImageFiles):
    """Image files that the rows of a CSV name, each with its target.

    The first row names the columns: one of images (image, file_name, path, ...), whose paths are relative to
    the CSV's folder; one of targets (label, labels, value, ...), or whatever other columns there are; and
    where the file holds several splits, one called split.

    Parameters
    ----------
    path
        The CSV: UTF-8, or UTF-16 with a byte order mark; separated by commas, semicolons, tabs or bars.
    split
        Rows whose split this is; None for train. All rows where there is no such column.
    kind
        Of the targets. Labels of which an image has any number are names separated by ``;``, ``|`` or
        ``,`` in one cell, or a column each of 0 and 1; values are a column each.

    Raises
    ------
    DataError
        When it can't be read, lacks such columns, or a target is missing or of another kind; the line names
        the first such image.
    """

    def __init__(self, path: Path, split: str | None = None, kind: TargetKind | None = None) -> None:
        self._path, wanted = path, kind or "class"
        header, rows = read_table(path)
        image = _image_column(path, header)
        part, chosen, others = _split(path, header, rows, split)
        self._names = [row[image] for row in chosen]
        origin = f"{one_line(path.name)} ({part})"
        if wanted == "multi_label":
            _once(origin, self._names)
        columns = _target_columns(path, [name for name in header if name != image], rows, wanted)
        found = read_targets(
            wanted,
            _cells(chosen, columns, wanted, origin, self._names, rows),
            origin,
            columns if wanted == "multi_label" and len(columns) > 1 else None,
            _cells(others, columns, wanted, origin, [row[image] for row in others], rows),
            lambda index: one_line(self._names[index]),
        )
        super().__init__(
            name=one_line(path.stem if split_in_words(path.stem) is None else path.absolute().parent.name),
            split=part,
            origin=origin,
            classes=found.classes,
            root=path.parent,
            files=[path.parent / name for name in self._names],
            labels=found.labels,
            notes=(*found.notes, *_repeated(self._names, found.labels)),
            kind=wanted,
        )

    def sample_name(self, index: int) -> str:
        """Return the path of image ``index`` as the file has it."""
        return self._names[index]


def kind_listed(path: Path) -> tuple[TargetKind, str]:
    """Return of which kind the targets in a CSV are by its columns, and what speaks for it.

    Labels of which an image has any number stand in a column that is called so (labels, tags), with
    separators between names, or in several columns of 0 and 1; values in a column called value, with
    fractions, or in several columns of numbers. All else is classes.

    Raises
    ------
    DataError
        When it can't be read, or has no column of images.
    """
    header, rows = read_table(path)
    apart = (_image_column(path, header), _named(header, _SPLITS))
    rest = [name for name in header if name not in apart]
    for kind, names in _NAMES_OF.items():
        named = _named(rest, names)
        if named is not None:
            return kind, f"{path.name} has a column {named}"
    named = _named(rest, _TARGETS["class"]) or (rest[0] if len(rest) == 1 else None)
    if named is not None:
        cells = [row[named] for row in rows]
        separator = next((one for one in _SEPARATORS[:2] if any(one in cell for cell in cells)), None)
        if separator is not None:
            return "multi_label", f"cells of its column {named} hold several names, separated by {separator}"
        if all(map(_is_number, cells)) and not all(map(_is_whole, cells)):
            return "value", f"its column {named} holds numbers with fractions"
        return "class", f"its column {named} holds one of several in each row"
    if flags := [name for name in rest if all(_is_flag(row[name]) for row in rows)]:
        return "multi_label", f"{len(flags):,} columns hold 0 and 1 alone"
    if numbers := [name for name in rest if all(_is_number(row[name]) for row in rows)]:
        return "value", f"{len(numbers):,} columns hold numbers"
    return "class", f"none of its columns {listed(rest)} holds several labels or values"


def splits_listed(path: Path) -> tuple[str, ...]:
    """Return the splits that a CSV's column of splits names; none without such a column.

    Raises
    ------
    DataError
        When it can't be read.
    """
    header, rows = read_table(path)
    column = _named(header, _SPLITS)
    if column is None:
        return ()
    return tuple(sorted({plain_split(row[column].lower()) or row[column] for row in rows}))


def _named(header: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first of several names that a column has, in whatever case."""
    found = {one.lower(): one for one in header}
    return next((found[name] for name in names if name in found), None)


def _image_column(path: Path, header: list[str]) -> str:
    column = _named(header, _IMAGES)
    if column is None:
        raise DataError(
            f"{path} must have a column of image paths called one of {', '.join(_IMAGES)}; its columns are "
            f"{listed(header)}: rename it"
        )
    return column


def _split(path: Path, header: list[str], rows: Rows, split: str | None) -> tuple[str, Rows, Rows]:
    """Return the split's name, its rows, and those of others."""
    asked = "train" if split is None else plain_split(split) or split
    column = _named(header, _SPLITS)
    if column is None:
        return (asked if split is not None else split_in_words(path.stem) or asked), rows, []
    of = [plain_split(row[column].lower()) or row[column] for row in rows]
    chosen = [row for row, part in zip(rows, of, strict=True) if part == asked]
    if not chosen:
        raise DataError(
            f"{path} must have rows of the split {asked}; its column {column} has "
            f"{listed(sorted(set(of)))}: name one of them by --split"
        )
    return asked, chosen, [row for row, part in zip(rows, of, strict=True) if part != asked]


def _target_columns(path: Path, header: list[str], rows: Rows, kind: TargetKind) -> list[str]:
    """Return the columns of targets: one, or of labels and values several."""
    rest = [name for name in header if name != _named(header, _SPLITS)]
    named = _named(rest, _TARGETS[kind])
    if kind == "none":
        return []
    if named is not None:
        return [named]
    if len(rest) == 1:
        return rest
    fits = {"multi_label": _is_flag, "value": _is_number}.get(kind)
    several = [] if fits is None else [name for name in rest if all(fits(row[name]) for row in rows)]
    if not several:
        also = {"multi_label": ", or columns of 0 and 1", "value": ", or columns of numbers"}.get(kind, "")
        raise DataError(
            f"{path} must have a column called one of {', '.join(_TARGETS[kind])}{also}; besides images it "
            f"has {listed(rest) or 'none'}: rename it"
        )
    return several


def _cells(
    rows: Rows, columns: list[str], kind: TargetKind, origin: str, names: Sequence[str], every: Rows
) -> list[Any]:
    """Return the targets of rows as `read_targets` takes them."""
    if kind == "none":
        return [None] * len(rows)
    if kind == "value":
        return [_numbers(row, columns, origin, name) for row, name in zip(rows, names, strict=True)]
    (column, *more) = columns
    if kind == "class":
        return [row[column] or None for row in rows]
    if more:
        return [[row[one] in _YES for one in columns] for row in rows]
    separator = next((one for one in _SEPARATORS if any(one in row[column] for row in every)), ";")
    return [[name for part in row[column].split(separator) if (name := part.strip())] for row in rows]


_YES, _NO = ("1", "1.0", "True", "true"), ("0", "0.0", "False", "false")


def _is_flag(cell: str) -> bool:
    return cell in _YES or cell in _NO


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_whole(cell: str) -> bool:
    return float(cell).is_integer()


def _numbers(row: dict[str, str], columns: list[str], origin: str, name: str) -> list[float]:
    for column in columns:
        if not _is_number(row[column]):
            raise DataError(
                f"values of {origin} must be numbers; {one_line(name)} has {row[column]!r:.60} in the column "
                f"{column}: mend or leave it out"
            )
    return [float(row[column]) for column in columns]


def is_list(path: Path) -> bool:
    """Return whether there is a CSV, by its ending in whatever case."""
    return path.suffix.lower() in ENDINGS and path.is_file()


def _repeated(names: Sequence[str], labels: NDArray[Any]) -> list[str]:
    """Return a note on images that stand in several rows, and on those of them with several targets."""
    rows: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        rows.setdefault(name, []).append(index)
    several = [name for name, own in rows.items() if len(own) > 1]
    if not several or not labels.size:
        return []
    torn = [name for name in several if (labels[rows[name]] != labels[rows[name][0]]).any()]
    differ = (
        f", {len(torn):,} of them with different targets ({listed(list(map(one_line, torn)))})"
        if torn
        else ""
    )
    return [f"{len(several):,} images stand in several rows, and are taken as often{differ}"]


def _once(origin: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"images of {origin} must stand in one row each, with all their labels; {one_line(name)} "
                "stands in several: put its labels into one cell"
            )
        seen.add(name)
