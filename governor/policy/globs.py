"""Shell globs as fnmatch(3) has them: `*`, `?`, `[a-z]`, `[!a]`; case counts and `/` is a character like any other."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH: Final = 4096
"""Longer patterns are refused: compiling them would hold up the daemon."""

_SPECIAL: Final = frozenset("*?[")
_RANGE = re.compile(r"(.)-(.)", re.DOTALL)


def any_matches(patterns: Iterable[str], text: str) -> bool:
    """Return whether any pattern matches the whole of `text`.

    `text` is hostile. The time is at most the product of the lengths: fnmatch.translate() makes each star an atomic
    group, so that nothing backtracks across stars.
    """
    return any(_compiled(pattern).match(text) is not None for pattern in patterns)


def is_literal(pattern: str) -> bool:
    """Return whether `pattern` matches only itself."""
    return not _SPECIAL & set(pattern)


def complaint(pattern: str) -> str:
    """Return what is wrong with `pattern` in words, or "" where nothing is."""
    if len(pattern) > MAX_LENGTH:
        return f"is {len(pattern)} characters long; at most {MAX_LENGTH} are read"
    start = pattern.find("[")
    while start >= 0:
        end = _bracket_end(pattern, start)
        if end < 0:
            return 'has a "[" that is never closed; write "[[]" for the character itself'
        if any(first > last for first, last in _RANGE.findall(pattern[start + 1 : end])):
            return "has a range that runs downwards"
        start = pattern.find("[", end)
    return ""


def _bracket_end(pattern: str, start: int) -> int:
    """Return the index of the `]` that closes the `[` at `start`, or -1; a `]` in first place is a member."""
    first = start + 2 if pattern[start + 1 : start + 2] == "!" else start + 1
    return pattern.find("]", first + 1)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
