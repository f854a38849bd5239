"""Download of published files, verified by their MD5."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.errors import DataError
from pipeline.formats.whole import PartialFile, unwritable

_CHUNK = 1 << 20
_PATIENCE = 60
"""Timeout in seconds without data."""


def download(url: str, path: Path, md5: str) -> None:
    """Fetch ``url`` to ``path``; nothing is left under that name unless its MD5 is the one expected.

    Raises
    ------
    DataError
        When the server can't be reached, sends something else, or ``path`` can't be written.
    """
    digest = hashlib.md5(usedforsecurity=False)
    remedy = f"try again, or put the file there by hand: {path}"
    with PartialFile(path) as partial:
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    partial.file.write(chunk)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise DataError(f"{url} must be reachable to be downloaded; got {error}: {remedy}") from None
        except OSError as error:
            raise unwritable(path, error) from None
        if digest.hexdigest() != md5:
            raise DataError(f"{url} must have the MD5 {md5}; got {digest.hexdigest()}: {remedy}")
        partial.publish()
