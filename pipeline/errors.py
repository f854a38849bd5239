"""What goes wrong in the data pipeline, said in one line."""

from __future__ import annotations

import unicodedata


class DataError(ValueError):
    """A mistake that the caller can mend: one line with the rule, the value and the remedy."""


class MissingExtraError(DataError):
    """An optional dependency is asked for and not installed; the line holds the command that installs it."""


class CorruptSampleError(DataError):
    """A sample's bytes can't be read; the line names the file and the sample."""


class UnwritableError(DataError):
    """A file can't be written; the line names it and what the system says."""


class ChangedDataError(DataError):
    """A file was altered while it was being read; the line names it and what changed."""


def one_line(text: str) -> str:
    r"""Return a text with everything written out that would end its line or can't be encoded.

    >>> one_line("two\nlines"), one_line("caf\udce9")
    ('two\\nlines', 'caf\\xe9')
    """
    return "".join(map(_written_out, text)) if not text.isprintable() else text


def _written_out(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        # A byte of a file's name that is no UTF-8.
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode()
    return character
