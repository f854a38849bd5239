"""Warnings of decoders about images that they decode nevertheless, collected per image."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

import PIL._imaging  # type: ignore[import-untyped, unused-ignore]
from PIL import Image

_PILLOW = Path(PIL.__file__).parent
_local = threading.local()
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


@contextmanager
def complaints() -> Iterator[list[str]]:
    """Return a context that collects decoders' warnings in this thread: a list of texts, in order."""
    said: list[str] = []
    _local.said = said
    try:
        yield said
    finally:
        _local.said = None


@contextmanager
def gathering() -> Iterator[None]:
    """Return a context that redirects messages of Pillow and libtiff from the terminal to `complaints`.

    For all threads. Most messages are about metadata, not pixels. Must not be nested or entered concurrently,
    as it changes process-wide settings.
    """
    _listen_to_libtiff()
    with _listening_to_log(), warnings.catch_warnings():
        show = warnings.showwarning

        def hear(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, UserWarning) and Path(filename).parent == _PILLOW:
                _complain(str(message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = hear
        warnings.filterwarnings("always", category=UserWarning, module="PIL")
        # The limit is an option of ours, set by `pixel_limit`.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        yield


@contextmanager
def _listening_to_log() -> Iterator[None]:
    """Handle Pillow's log messages, which go to the terminal if a program doesn't configure logging."""
    logger, handler = logging.getLogger("PIL"), _Log(logging.WARNING)
    passed_on = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = passed_on
        logger.removeHandler(handler)


class _Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _complain(record.getMessage())


def _complain(text: str) -> None:
    said: list[str] | None = getattr(_local, "said", None)
    if said is not None:
        said.append(" ".join(text.split()))


def _hear_libtiff(_module: bytes | None, words: bytes | None, _values: int | None) -> None:
    # The values belong to a C format string, which is reported unformatted.
    _complain(f"libtiff: {(words or b'').decode(errors='replace')}")


_HEAR_LIBTIFF = _HANDLER(_hear_libtiff)


@cache
def _listen_to_libtiff() -> None:
    """Handle libtiff's messages, which it prints to the terminal, if its functions are accessible."""
    try:
        library = ctypes.CDLL(PIL._imaging.__file__)
        setters = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (OSError, AttributeError):
        # Linked so that they are hidden: the messages then remain on the terminal.
        return
    for setter in setters:
        setter.restype, setter.argtypes = ctypes.c_void_p, [_HANDLER]
        setter(_HEAR_LIBTIFF)
