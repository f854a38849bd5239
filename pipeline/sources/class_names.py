"""Names of classes: which of them are equal, and which only look equal."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

_UNSEEN = "\0\ufeff\u200b\u2060"
_MOST_SHOWN = 5


def tidied(name: str) -> str:
    r"""Return a name without blanks and invisible marks at its ends, in Unicode's form NFC.

    >>> tidied("dog\r") == "dog" and len(tidied("U\u0308")) == 1
    True
    """
    name = unicodedata.normalize("NFC", name)
    while name != (bare := name.strip().strip(_UNSEEN)):
        name = bare
    return name


def changed(names: Sequence[str]) -> list[str]:
    """Return a note on names that `tidied` changes; empty if there are none."""
    pairs = [f"{name!r} as {tidied(name)!r}" for name in names if tidied(name) != name]
    if not pairs:
        return []
    return [f"class names are taken without blanks at their ends and in Unicode's form NFC: {listed(pairs)}"]


def alike(names: Sequence[str]) -> list[str]:
    """Return a note on names that differ only in case or in blanks; empty if there are none."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    pairs = [" and ".join(repr(name) for name in group) for group in groups.values() if len(group) > 1]
    if not pairs:
        return []
    return [f"classes whose names look alike are kept apart: {listed(pairs)}"]


def listed(items: Sequence[str]) -> str:
    """Join the first few items by commas, and count the others."""
    more = len(items) - _MOST_SHOWN
    return ", ".join(items[:_MOST_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
