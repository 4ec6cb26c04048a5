"""How foreign text is shown: names, labels and reasons come from containers and may hold anything."""

from __future__ import annotations

from typing import Final

ELLIPSIS: Final = "…"
NAME_LIMIT: Final = 128
"""Characters of a name, image or unit that a line shows; docker's own names end at 64, unit names at 255."""


def printable(text: str, limit: int) -> str:
    r"""Return `text` on one line, harmless to a terminal and at most `limit` characters long.

    Control characters, line and paragraph separators, zero-width, bidirectional and other format characters, lone
    surrogates and unassigned code points (all that `str.isprintable` refuses: Unicode's categories C and Z but for the
    space) become \xNN, \uNNNN or \UNNNNNNNN. What is cut ends with an ellipsis, never in the middle of an escape.
    A backslash stays as it is: unit names are full of them and shall be copied as they are.
    """
    shown: list[str] = []
    length = 0
    for character in text:
        piece = character if character.isprintable() else _escape(ord(character))
        length += len(piece)
        if length > limit:
            return _cut(shown, limit)
        shown.append(piece)
    return "".join(shown)


def _escape(point: int) -> str:
    r"""Return the escape of one code point, in the shortest of Python's three forms."""
    if point < 0x100:  # noqa: PLR2004 - the ends of Latin-1 and of the basic plane, as in Python's own escapes
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"  # noqa: PLR2004 - as above


def _cut(pieces: list[str], limit: int) -> str:
    """Return as many whole `pieces` as leave room for the ellipsis within `limit` characters."""
    length = sum(map(len, pieces))
    while pieces and length + len(ELLIPSIS) > limit:
        length -= len(pieces.pop())
    return "".join(pieces) + ELLIPSIS[:limit]
