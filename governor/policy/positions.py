"""Where in a TOML text each key and value stands, for messages and for `explain`.

A parser gives values without places. This is a scanner, not a parser: it walks a text that tomli has already taken,
once and in linear time, and only tells brackets, strings and comments apart. It never raises: what it cannot follow
it leaves out, and a place that is not known is that of the table around it, or of the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import tomli

Path: TypeAlias = tuple[str | int, ...]
"""Keys and array indexes from the top of a document to a value in it."""

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]+|\\.)*+"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]+|\\.|"(?!""))*+"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']+|'(?!''))*+'{3,5}", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n\r]+")
_STRINGS: Final = (_LONG_BASIC, _LONG_LITERAL, _BASIC, _LITERAL)
_LOST: Final = "no valid TOML goes on like this"
_MAX_DEPTH: Final = 100
# What lies deeper or further down a list than any table knows is placed with what is around it: that bounds memory.
_MAX_PATH: Final = 16
_MAX_ITEMS: Final = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text: line and column count from 1, `width` is in columns and ends with the line."""

    line: int
    column: int
    width: int


@dataclass(slots=True)
class Positions:
    """The places of keys and values in `text`, as `Positions.of(text)` finds them."""

    text: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = [0, *(found.end() for found in re.finditer("\n", self.text))]

    @classmethod
    def of(cls, text: str) -> Positions:
        """Return the places in `text`, a TOML document with plain newlines; as many as can be followed."""
        positions = cls(text)
        with suppress(ValueError):
            _Scanner(text, positions).document()
        return positions

    def key(self, path: Path) -> Span:
        """Return where the key of `path` is written, or else the nearest key around it."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.span(*self.keys.get(path, (0, 1)))

    def value(self, path: Path) -> Span:
        """Return where the value of `path` is written, or else the nearest value or key around it."""
        while path and path not in self.values and path not in self.keys:
            path = path[:-1]
        return self.span(*(self.values.get(path) or self.keys.get(path) or (0, 1)))

    def span(self, start: int, end: int) -> Span:
        """Return the place of the characters from `start` to `end`, cut off where the line ends."""
        line = max(bisect_right(self.starts, start), 1)
        first = self.starts[line - 1]
        line_end = self.text.find("\n", start)
        stop = min(end, line_end if line_end >= 0 else len(self.text))
        return Span(line, start - first + 1, max(stop - start, 1))

    def line(self, number: int) -> str:
        """Return a line's text without its end; lines count from 1."""
        start = self.starts[number - 1]
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\n")


class _Scanner:
    """One walk over a document; `at` is the offset of the next character."""

    def __init__(self, text: str, positions: Positions) -> None:
        self.text, self.at, self.found = text, 0, positions
        self.lengths: dict[Path, int] = {}

    def document(self) -> None:
        """Walk all statements and write down what they set."""
        table: Path = ()
        self._skip(_GAP)
        while self.at < len(self.text):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table, 0)
            self._skip(_GAP)

    def _header(self) -> Path:
        """Walk `[a.b]` or `[[a.b]]`; return the path of the table that it opens."""
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        table: Path = self._key(())
        if is_array:
            index = self.lengths.get(table, 0)
            self.lengths[table] = index + 1
            table = (*table, index)
            self.found.keys.setdefault(table, self.found.keys[table[:-1]])
        self._expect("]]" if is_array else "]")
        return table

    def _pair(self, table: Path, depth: int) -> None:
        path = self._key(table)
        self._expect("=")
        self._value(path, depth)

    def _key(self, table: Path) -> Path:
        """Walk a dotted key below `table`; an array of tables on its way stands for its last element."""
        path = table
        while True:
            self._skip(_BLANK)
            start = self.at
            part = self._key_part()
            path = (*path, part) if len(path) < _MAX_PATH else path
            self.found.keys.setdefault(path, (start, self.at))
            self._skip(_BLANK)
            if self._peek() != ".":
                return path
            self.at += 1
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)

    def _key_part(self) -> str:
        found = _BARE_KEY.match(self.text, self.at)
        if found:
            self.at = found.end()
            return found[0]
        for quoted in (_BASIC, _LITERAL):
            if found := quoted.match(self.text, self.at):
                self.at = found.end()
                return _unquoted(found[0])
        raise ValueError(_LOST)

    def _value(self, path: Path, depth: int) -> None:
        """Walk one value and everything in it; write down where it stands."""
        if depth > _MAX_DEPTH:
            raise ValueError(_LOST)
        self._skip(_BLANK)
        start = self.at
        match self._peek():
            case "[":
                self._items(path, depth)
            case "{":
                self._pairs(path, depth)
            case _:
                self._scalar()
        self.found.values.setdefault(path, (start, self.at))

    def _items(self, path: Path, depth: int) -> None:
        self.at += 1
        self._skip(_GAP)
        index = 0
        while self._peek() != "]":
            self._value((*path, min(index, _MAX_ITEMS)), depth + 1)
            self._separator("]")
            index += 1
        self.at += 1

    def _pairs(self, path: Path, depth: int) -> None:
        self.at += 1
        self._skip(_GAP)
        while self._peek() != "}":
            self._pair(path, depth + 1)
            self._separator("}")
        self.at += 1

    def _separator(self, end: str) -> None:
        """Walk the comma between two items, or up to the bracket that ends them."""
        self._skip(_GAP)
        if self._peek() != end:
            self._expect(",")
            self._skip(_GAP)

    def _scalar(self) -> None:
        for pattern in _STRINGS:
            if found := pattern.match(self.text, self.at):
                self.at = found.end()
                return
        found = _SCALAR.match(self.text, self.at)
        if found is None:
            raise ValueError(_LOST)
        self.at += len(found[0].rstrip())

    def _expect(self, token: str) -> None:
        self._skip(_BLANK)
        if not self.text.startswith(token, self.at):
            raise ValueError(_LOST)
        self.at += len(token)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at


def _unquoted(token: str) -> str:
    """Return the text of a quoted key."""
    return str(tomli.loads(f"key = {token}")["key"])
