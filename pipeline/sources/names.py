"""Names of files as they are shown: on one line, and in characters that every terminal and file takes."""

from __future__ import annotations

import unicodedata

_BREAKING = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode's categories of control characters, bytes that aren't UTF-8, and separators of lines."""
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What makes a terminal show the rest of a line in another order."""


def shown(name: str) -> str:
    r"""Return a file's name or path for people and lists: whatever would break a line is escaped.

    Bytes that aren't UTF-8 become ``\xe9``, control characters ``\n`` or ``\x07``, others ``\u2028``, and a
    backslash two, so that different names stay different.

    >>> print(shown("a\nb.jpg"), shown("caf\udce9.jpg"), shown("Ü 1.jpg"))
    a\nb.jpg caf\xe9.jpg Ü 1.jpg
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escaped(character) for character in name)


def is_text(name: str) -> bool:
    """Whether a name can be shown as it is, but for backslashes."""
    return name.isprintable() or not any(_breaks(character) for character in name)


def _breaks(character: str) -> bool:
    return unicodedata.category(character) in _BREAKING or character in _TURNING


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        # What Python makes of a byte that it can't decode.
        return f"\\x{number - 0xDC00:02x}"
    if character == "\\" or _breaks(character):
        text = character.encode("unicode_escape").decode("ascii")
        # U+0080 to U+00FF would look like bytes.
        return f"\\u{number:04x}" if 0x80 <= number <= 0xFF else text
    return character
