"""A self-contained HTML document in the common style of all pages."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from tools.reporting.markup import Child, Safe, el

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Forbids the browser to load anything; pictures are embedded."""


def document(title: str, *main: Child, script: str = "") -> str:
    """Return a whole page whose content is ``main``.

    Parameters
    ----------
    script
        JavaScript that runs at its end; the policy forbids all other scripts.
    """
    body = el("body", el("main", main), el("script", Safe(script)) if script else None)
    return f"<!doctype html>\n{el('html', _head(title, script), body, lang='en')}\n"


def section(heading: str, *children: Child) -> Safe:
    """Return a section of a page under its heading."""
    return el("section", el("h2", heading), *children)


def _head(title: str, script: str) -> Safe:
    policy = POLICY
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    style = resources.files("tools.reporting").joinpath("style.css").read_text(encoding="utf-8")
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Safe(style)),
    )
