"""Standard JSON, for readers in any language; every JSON file of this project is written with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(value: Any, *, indent: int | None = None) -> str:
    r"""Return ``value`` as JSON text that every strict parser reads.

    Python's own ``json`` writes NaN and Infinity, which JSON doesn't have, and lone surrogates, which stand
    for bytes of file names that aren't UTF-8. Here a number that isn't finite is null, as is a key, and such
    bytes are escaped visibly.

    >>> dumps({"loss": float("nan"), "file": "caf\udce9.jpg"})
    '{"loss": null, "file": "caf\\\\udce9.jpg"}'

    Parameters
    ----------
    indent
        Spaces per level; None for one line.

    Raises
    ------
    TypeError
        When a value isn't of JSON's types, as a tensor.
    """
    return json.dumps(_strict(value), indent=indent, allow_nan=False)


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_strict(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value
