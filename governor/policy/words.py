"""Words for messages: what a TOML value is called, how it is shown, and what was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Iterable

Raw: TypeAlias = Any
"""A value as TOML gives it: str, int, float, bool, a date, list or dict."""

_TYPES: Final[dict[type, str]] = {
    bool: "a boolean",
    int: "a whole number",
    float: "a float",
    str: "a string",
    list: "an array",
    dict: "a table",
}


def toml_type(raw: Raw) -> str:
    """Return what TOML calls the type of `raw`, with its article."""
    return _TYPES.get(type(raw), "a date or time")


def quoted(raw: Raw, limit: int = 60) -> str:
    """Return `raw` for a message: printable, on one line, at most `limit` characters long."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, list | dict):
        return "[…]" if isinstance(raw, list) else "{…}"
    text = raw if isinstance(raw, str) else as_text(raw)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f'"{shown}"' if isinstance(raw, str) else shown


def as_text(raw: Raw) -> str:
    """Return the text that stands for a scalar: `true`, `300`."""
    if isinstance(raw, bool):
        return str(raw).lower()
    # A TOML integer may have 4300 hexadecimal digits, which str() refuses; 65 bits are too many for every directive.
    if isinstance(raw, int) and abs(raw) > INFINITY:
        return "-" + "9" * 21 if raw < 0 else "9" * 21
    return str(raw)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "X"?` for the known name nearest to `name`, or "" where none is near."""
    by_folded = {one.lower(): one for one in known}
    near = get_close_matches(name.lower()[:60], by_folded, n=1)
    return f'; did you mean "{by_folded[near[0]]}"?' if near else ""
