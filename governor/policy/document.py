"""One TOML text with its data, its places and the problems found in it so far."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import tomli

from governor.model.errors import PolicyError, Position, Problem
from governor.policy.positions import Path, Positions, Span

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 1024 * 1024
"""A larger file is refused: nobody wrote it by hand."""

_MAX_PROBLEMS: Final = 200
_MAX_SOURCE: Final = 240
# tomli has attributes for the place from 2.1 on; Debian 12 ships 2.0.1, which only says it.
_SAID_PLACE = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)\Z")
_MAX_MESSAGE: Final = 300


class Document:
    """A text and what is wrong with it; `data` is empty where the text is no TOML."""

    def __init__(self, text: str, file: str) -> None:
        # Editors do not count a byte order mark as a column, and TOML reads CRLF as a newline.
        self.text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self.file = file
        self.problems: list[Problem] = []
        self._lines = Positions(self.text)
        self._positions: Positions | None = None
        self._refuse_unreadable()
        self.data: Mapping[str, Any] = self._loaded()

    @property
    def positions(self) -> Positions:
        """The places of all keys and values, looked for when they are first asked for."""
        if self._positions is None:
            self._positions = Positions.of(self.text)
        return self._positions

    def position(self, path: Path) -> Position:
        """Return where the key of `path` is written, for what is read from it."""
        span = self.positions.key(path)
        return Position(self.file, span.line, span.column)

    @property
    def is_full(self) -> bool:
        """Whether so much is wrong that nobody reads on; further problems are dropped."""
        return len(self.problems) >= _MAX_PROBLEMS

    def at_key(self, path: Path, message: str) -> None:
        """Note a problem with the key of `path`, or with the whole file for ()."""
        self.at(self.positions.key(path), message)

    def at_value(self, path: Path, message: str) -> None:
        """Note a problem with the value of `path`."""
        self.at(self.positions.value(path), message)

    def at(self, span: Span, message: str) -> None:
        """Note a problem at a place of the text."""
        if self.is_full:
            return
        source = shown(self._lines.line(span.line), span.column)
        width = max(1, min(span.width, len(source) - span.column + 1))
        self.problems.append(Problem(Position(self.file, span.line, span.column), message, source, width))

    def sorted_problems(self) -> tuple[Problem, ...]:
        """Return the problems in the order of their places, each once."""
        return tuple(sorted(dict.fromkeys(self.problems), key=lambda problem: (problem.position, problem.message)))

    def _refuse_unreadable(self) -> None:
        """Raise PolicyError for a text that is too long, or that UTF-8 cannot hold."""
        try:
            length = len(self.text.encode())
        except UnicodeEncodeError as error:
            self.at(self._lines.span(error.start, error.end), "is not Unicode text")
            raise PolicyError(self.sorted_problems()) from error
        if length > MAX_BYTES:
            self.at(Span(1, 1, 1), f"the file is longer than {MAX_BYTES} bytes, and no more are read")
            raise PolicyError(self.sorted_problems())

    def _loaded(self) -> Mapping[str, Any]:
        """Return the data, or raise PolicyError with what tomli refused."""
        try:
            return tomli.loads(self.text)
        except tomli.TOMLDecodeError as error:
            span, message = self._place(error)
            self.at(span, f"not valid TOML: {message}")
        except (ValueError, RecursionError) as error:
            # An integer of thousands of digits, or nesting without end: tomli does not say where.
            message = str(error) if isinstance(error, RecursionError) else "a number has too many digits"
            self.at(self._first_line_with(type(error)), f"not valid TOML: {message}")
        raise PolicyError(self.sorted_problems())

    def _place(self, error: tomli.TOMLDecodeError) -> tuple[Span, str]:
        """Return where tomli stopped and why, without the place that it says in words."""
        text = str(error)
        said = _SAID_PLACE.search(text)
        message = (text[: said.start()] if said else text)[:_MAX_MESSAGE]
        if said is None or said[1] is None:
            return self._lines.span(len(self.text.rstrip("\n")), len(self.text)), message
        line, column = int(said[1]), int(said[2])
        return Span(line, column, 1), message

    def _first_line_with(self, kind: type[Exception]) -> Span:
        """Return the first line without which tomli does not raise `kind`, found by halving."""
        lines = self.text.split("\n")
        low, high = 1, len(lines)
        while low < high:
            middle = (low + high) // 2
            if _raises("\n".join(lines[:middle]), kind):
                high = middle
            else:
                low = middle + 1
        return Span(low, 1, max(len(lines[low - 1]), 1))


def _raises(text: str, kind: type[Exception]) -> bool:
    try:
        tomli.loads(text)
    except (ValueError, RecursionError) as error:
        return type(error) is kind
    return False


def shown(line: str, column: int) -> str:
    """Return a source line that a terminal can show: cut, and with control characters replaced one for one.

    Where `column` lies beyond the cut there is nothing to point at, and the line is left out.
    """
    if column > min(len(line), _MAX_SOURCE) + 1:
        return ""
    cut = line if len(line) <= _MAX_SOURCE else line[:_MAX_SOURCE] + "…"
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in cut)
