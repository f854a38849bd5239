"""Folders that libraries keep compiled code in, as environment variables name them."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import one_line
from tools.streams import say

VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def leave_out_unwritable() -> None:
    """Unset variables whose folder can't be written to, with a note: torch makes it for any run, and fails.

    Without them torch takes a folder among temporary files.
    """
    for name in VARIABLES:
        folder = os.environ.get(name)
        if folder and not _writable(Path(folder)):
            del os.environ[name]
            say(f"note: {name} ({one_line(folder)}) can't be written to; torch's usual folder is taken")


def _writable(folder: Path) -> bool:
    try:
        place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except OSError:
        return False
