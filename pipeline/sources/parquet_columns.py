"""The columns of images and targets in a Parquet file, by names and types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.targets import TargetKind

_LABELS = ("label", "labels", "class", "target", "fine_label")


def types(files: Iterable[tuple[Path, pa.Schema]], label: str) -> Iterator[tuple[str, str]]:
    """Return each file's name and the type of its labels; one of nulls alone has none."""
    for path, schema in files:
        kind = _values(schema.field(label).type)
        if not pa.types.is_null(kind):
            text = _is_text(kind) or _is_bytes(kind)
            yield path.name, "numbers" if _is_number(kind) else "texts" if text else str(kind)


def columns(path: Path, schema: pa.Schema, kind: TargetKind) -> tuple[str, str | None]:
    """Choose the columns of images and of targets; the latter is None for unlabeled images."""
    images = [field.name for field in schema if is_image(field.type)]
    labels = [] if kind == "none" else _candidates(schema, kind)
    label = next((name for name in _LABELS if name in labels), labels[0] if len(labels) == 1 else None)
    pictures = [name for name in images if name != label]
    only = pictures[0] if len(pictures) == 1 else None
    image = next((name for name in ("image", "img") if name in pictures), only)
    if image is None or (label is None and kind != "none"):
        held = {
            "class": "one of labels (whole numbers or texts)",
            "multi_label": "one of labels (a list per row)",
            "value": "one of values (numbers, or a list of them per row)",
        }
        targets = f", and {held[kind]} called label" if kind in held else ""
        raise DataError(
            f"{path} must have a column of images (a struct of bytes and path, or bytes) called image"
            f"{targets}; its columns are "
            + ", ".join(f"{field.name} ({field.type})" for field in schema)
            + ": rename them, or ask for other targets by --targets"
        )
    return image, label


def _candidates(schema: pa.Schema, kind: TargetKind) -> list[str]:
    """Return the columns that may hold targets of a kind: preferably those named like labels."""
    if kind == "class":
        named = [field.name for field in schema if class_names(schema, field.name) is not None]
        plain = [field.name for field in schema if _is_integer(field.type) or _is_text(field.type)]
        # Floats, truth values and bytes may be anything: they are labels only if named so.
        called = [name for name in _LABELS if name in schema.names and _is_label(schema.field(name).type)]
        return named or called or plain

    fitting = _fitting(schema, kind)
    return [name for name in _LABELS if name in fitting] or fitting


def passed_over(schema: pa.Schema, kind: TargetKind, label: str | None) -> list[str]:
    """Return the columns besides ``label`` that hold labels or values as well; empty for classes."""
    return [] if kind in ("class", "none") else [name for name in _fitting(schema, kind) if name != label]


def _fitting(schema: pa.Schema, kind: TargetKind) -> list[str]:
    """List the columns of lists of labels, or of values."""

    def fits(field: pa.Field) -> bool:
        listed = _is_list(field.type)
        inner = field.type.value_type if listed else field.type
        if kind == "multi_label":
            return listed and (_is_number(inner) or _is_text(inner))
        return _is_number(inner) and not pa.types.is_boolean(inner)

    return [field.name for field in schema if fits(field)]


def class_names(schema: pa.Schema, label: str | None) -> list[str] | None:
    """Return the names of a column's classes that the hub's library stores; None if it stores none."""
    if label is None:
        return None
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]
        kind = schema.field(label).type
        if _is_list(kind):
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
            kind = kind.value_type
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not names or not _is_integer(kind):
        return None
    return [str(name) for name in names]


def _values(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values; for categories, the type of the categories."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_image(kind: pa.DataType) -> bool:
    """Whether a column's type is one of images: bytes, or a struct with bytes."""
    kind = _values(kind)
    if pa.types.is_struct(kind):
        # StructType.fields came with pyarrow 18.
        fields = [kind.field(index) for index in range(kind.num_fields)]
        return any(field.name == "bytes" and _is_bytes(_values(field.type)) for field in fields)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return any(
        check(kind) for check in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = _values(kind)
    return any(
        check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(_values(kind)))


def _is_number(kind: pa.DataType) -> bool:
    kind = _values(kind)
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(check(kind) for check in kinds)


def _is_label(kind: pa.DataType) -> bool:
    kind = _values(kind)
    # Lists may be one-hot rows, or hold one label each.
    inner = kind.value_type if _is_list(kind) else kind
    return _is_number(inner) or _is_text(inner) or _is_bytes(kind)


def _is_list(kind: pa.DataType) -> bool:
    return any(
        check(kind) for check in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
