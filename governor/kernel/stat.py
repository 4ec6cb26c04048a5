"""Parsers of the kernel's flat files: "name number" a line, or one number alone; only what is wanted is parsed.

Formats: Documentation/admin-guide/cgroup-v2.rst ("Flat keyed", "Nested keyed"), Documentation/filesystems/proc.rst.
A number that the file does not have is ABSENT (-1): the kernel's own are never negative.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

Numbers = tuple[int, ...]

ABSENT: Final = -1
_PADDING: Final = b"-1"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a kernel has the wanted fields among a file's words. Only the digits change from read to read."""

    names: Callable[[Sequence[bytes]], tuple[bytes, ...]]
    expected: tuple[bytes, ...]
    values: Callable[[Sequence[bytes]], tuple[bytes, ...]]


class FlatFile:
    """Parses some fields of one flat keyed file: calling it with the text returns their numbers, in the order asked.

    It learns where the fields are and from then on only verifies: that makes 4 µs of the 27 that memory.stat takes
    with a dictionary. It holds one layout for each number of words, since a cgroup without a controller has fewer.
    """

    def __init__(self, fields: Sequence[str], wanted: Collection[str] | None = None) -> None:
        """Parse `fields`; those that are not `wanted` (None: all are) come out as ABSENT without being looked for."""
        known = fields if wanted is None else [name if name in wanted else "" for name in fields]
        self._fields = tuple(name.encode() for name in known)
        self._layouts: dict[int, _Layout] = {}
        self._words = 0
        """How often to split: words after the last field that is wanted need not be."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that are looked for."""
        return tuple(name.decode() for name in self._fields if name)

    def __call__(self, text: bytes) -> Numbers:
        """Return the numbers of `text`; all are ABSENT where it is not understood."""
        words = text.split(None, self._words)
        layout = self._layouts.get(len(words))
        if layout is None or layout.names(words) != layout.expected:
            words = text.split()
            layout = self._learn(words)
        words.append(_PADDING)
        try:
            return tuple(map(int, layout.values(words)))
        except ValueError:
            return (ABSENT,) * len(self._fields)

    def _learn(self, words: Sequence[bytes]) -> _Layout:
        """Return the layout of a text that was split whole, and keep it for the next."""
        at = {name: index for index, name in enumerate(words[:-1]) if name in self._fields}
        places = sorted(at.values()) or [0]
        layout = _Layout(
            names=_getter(places),
            expected=tuple(words[place] for place in places) if words else (),
            values=_getter([at[name] + 1 if name in at else -1 for name in self._fields]),
        )
        complete = all(name in at for name in self._fields if name)
        self._split_at_least(places[-1] + 2 if complete else sys.maxsize)
        if words:
            self._layouts[min(len(words), self._words + 1)] = layout
        return layout

    def _split_at_least(self, words: int) -> None:
        """Split later than before; a field that this text lacks may stand anywhere in the next one."""
        if words > self._words:
            self._words = words
            self._layouts.clear()


def number(text: bytes) -> Numbers:
    """Return the one number of `text`; ABSENT where it is none ("max")."""
    try:
        return (int(text),)
    except ValueError:
        return (ABSENT,)


def _getter(places: Sequence[int]) -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
    """Return an itemgetter that returns a tuple for a single place, and for none, too."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda words: tuple([words[place] for place in places])
