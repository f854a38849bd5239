"""HTML in which everything is escaped unless it was made by this module."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TypeAlias

VOID = frozenset({"br", "col", "img", "meta"})


class Safe(str):
    """Escaped HTML; any other string is text."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
Attribute: TypeAlias = "str | None"


def text(value: str) -> Safe:
    """Escape a string, unless it is safe already."""
    return value if isinstance(value, Safe) else Safe(html.escape(value))


def join(*children: Child) -> Safe:
    """Join children, escaping plain strings and omitting None."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(text(child))
        elif child is not None:
            parts.append(join(*child))
    return Safe("".join(parts))


def el(tag: str, *children: Child, **attributes: Attribute) -> Safe:
    """Return an element. ``class_`` is class, other underscores are hyphens; None omits an attribute."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Safe(f"<{tag}{written}>")
    return Safe(f"<{tag}{written}>{join(*children)}</{tag}>")


def table(
    head: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    caption: str,
    class_: str | None = None,
    hide_caption: bool = False,
) -> Safe:
    """Return a table whose first column names its rows and whose other columns hold figures.

    It scrolls horizontally on narrow screens, also by keyboard. A hidden caption is still read by screen
    readers.
    """
    body = [
        el("tr", el("th", first, scope="row"), [el("td", cell) for cell in others]) for first, *others in rows
    ]
    made = el(
        "table",
        el("caption", el("span", caption), class_="hidden" if hide_caption else None),
        el("thead", el("tr", [el("th", cell, scope="col") for cell in head])),
        el("tbody", body),
        class_=class_,
    )
    return el("div", made, class_="scroll", role="region", aria_label=caption, tabindex="0")


def details(summary: str, *children: Child) -> Safe:
    """Return children folded away under a summary."""
    return el("details", el("summary", summary), *children)
