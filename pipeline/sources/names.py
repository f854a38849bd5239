"""Names of files as they are shown: on one line, and in characters that every terminal and file takes."""

from __future__ import annotations


def shown(name: str) -> str:
    r"""Return a file's name or path for people and lists: whatever isn't printable is escaped.

    Bytes that aren't UTF-8 become ``\xe9``, control characters ``\n`` or ``\x07``, other characters that
    don't print ``\u2028``, and a backslash two, so that different names stay different.

    >>> print(shown("a\nb.jpg"), shown("caf\udce9.jpg"), shown("Ü 1.jpg"))
    a\nb.jpg caf\xe9.jpg Ü 1.jpg
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escaped(character) for character in name)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        # What Python makes of a byte that it can't decode.
        return f"\\x{number - 0xDC00:02x}"
    if character == "\\" or not character.isprintable():
        text = character.encode("unicode_escape").decode("ascii")
        # U+0080 to U+00FF would look like bytes.
        return f"\\u{number:04x}" if 0x80 <= number <= 0xFF else text
    return character
