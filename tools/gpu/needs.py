"""Modules required by the check; looked up before they are imported, for a one-line error message."""

from __future__ import annotations

import importlib.util

MODULES = (
    "matplotlib",
    "numba",
    "numpy",
    "PIL",
    "pyarrow",
    "rich",
    "tomli_w",
    "torch",
    "torchvision",
    "tyro",
)
"""Top-level modules of the project's dependencies."""


def refusal() -> str | None:
    """Return one line about the modules that this Python lacks; None if it has all of them."""
    lacking = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if not lacking:
        return None
    return (
        f"the GPU check needs what the project needs, and this Python can't import {', '.join(lacking)}: run "
        "tools/setup, or name a Python that has them by PYTHON=..."
    )
