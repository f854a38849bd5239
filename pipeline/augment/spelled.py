"""Parsing of parts with options from text, for options that hold a part, or several augmentations."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pipeline.errors import DataError

Part = TypeVar("Part")


def spelled(text: str, table: Mapping[str, type[Part]], **defaults: Any) -> Part:
    """Return the part described by ``text``: its name, and an option after each colon.

    A pair of numbers is written with a comma: ``random_resized_crop:scale=0.35,1:flip=false``.

    Parameters
    ----------
    table
        Parts by name, frozen dataclasses; ``text`` must name one of them.
    defaults
        Options that apply unless ``text`` sets them.

    Raises
    ------
    DataError
        For an option that doesn't exist, is set twice, or has a value of another type; and as the part
        itself.
    """
    name, *settings = text.split(":")
    cls = table[name]
    hints = typing.get_type_hints(cls)
    names = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in names:
            known = ", ".join(f"{known}=" for known in names) or "(none)"
            raise DataError(f"an option of {name} must be one of {known}; got {setting!r} in {text!r}")
        if key in values:
            raise DataError(f"an option must be set once; got {key} twice in {text!r}")
        try:
            values[key] = _value(value, hints[key])
        except ValueError:
            raise DataError(f"{key} of {name} must be {_called(hints[key])}; got {value!r}") from None
    return cls(**{**defaults, **values})


def _value(text: str, hint: Any) -> Any:
    """Parse a value of the annotated type; raise ValueError if the text isn't one."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for option in options:
            with contextlib.suppress(ValueError):
                return _value(text, option)
        raise ValueError
    if origin is tuple:
        parts = text.split(",")
        if options[-1] is Ellipsis:
            options = options[:1] * len(parts)
        return tuple(_value(part, kind) for part, kind in zip(parts, options, strict=True))
    readers: dict[Any, Mapping[str, Any]] = {
        bool: {"true": True, "false": False},
        type(None): {"none": None},
    }
    known = {str(option): option for option in options} if origin is Literal else readers.get(hint)
    if known is not None:
        if text not in known:
            raise ValueError
        return known[text]
    return hint(text)


def _called(hint: Any) -> str:
    """Return the description of an annotated type for error messages."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(map(str, options))
    if origin is tuple:
        several = "values" if options[-1] is Ellipsis else f"{len(options)} numbers"
        return f"{several} separated by a comma"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_called(option) for option in options)
    named = {bool: "true or false", int: "a whole number", float: "a number", type(None): "none"}
    return named.get(hint, "text")
