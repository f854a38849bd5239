"""Commands as a person types them."""

from __future__ import annotations

import io
from typing import Any

import tyro
from rich.console import Console


def type_in(command: type[Any], *words: object) -> tuple[int, str]:
    """Run a command as typed; give its exit status and what it said."""
    out = io.StringIO()
    console = Console(file=out, width=100)
    status = tyro.cli(command, args=[str(word) for word in words]).execute(console)
    return status, out.getvalue()
