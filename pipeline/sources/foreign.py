"""Files and folders that operating systems and other programs leave in a set's folder."""

from __future__ import annotations

import re

_NAMES = frozenset(
    (
        # Windows
        "$recycle.bin", "$winreagent", "config.msi", "desktop.ini", "ehthumbs.db", "ehthumbs_vista.db",
        "msocache", "recycled", "recycler", "system volume information", "thumbs.db", "zbthumbnail.info",
        # macOS, and what zip archives made there hold
        "__macosx", "desktop db", "desktop df", "icon\r", "network trash folder", "temporary items",
        "thevolumesettingsfolder",
        # Linux, and network storage: Synology, QNAP, NetApp
        "lost+found", "@eadir", "@recently-snapshot", "@recycle", "@sharebin", "@tmp", "#recycle",
        "#snapshot", "~snapshot",
        # Programs
        "__pycache__", "_vti_cnf", "picasa.ini",
    )
)  # fmt: skip
"""In lower case: some of these systems ignore case."""
_PATTERN = re.compile(r"found\.\d{3}|.*@synoeastream|.*:zone\.identifier")


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name doesn't belong to a set: hidden, or another program's."""
    lower = name.lower()
    return name.startswith(".") or lower in _NAMES or _PATTERN.fullmatch(lower) is not None
