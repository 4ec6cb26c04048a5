"""The screen of `top`: curses, keys and resizing. What is on it is made in top_layout, and knows no terminal."""

from __future__ import annotations

import asyncio
import curses
import locale
import os
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from governor.cli.top_layout import details, fit, heading, lines, table_columns
from governor.cli.top_rows import ordered
from governor.model.errors import Unsupported
from governor.model.signal import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from governor.cli.top_rows import Row

KEYS: Final = {"c": "cpu", "m": "memory", "i": "io", "p": "pressure", "t": "throttled", "n": "name"}
HELP: Final = "q quit  c m i p t n sort  r turn around  ↑↓ choose"
_DETAIL_LINES: Final = 6
_LEAST_LINES: Final = 4
"""A terminal of fewer lines shows the table only."""


@dataclass(slots=True)
class View:
    """What the user has chosen to see."""

    by: str = "cpu"
    turned: bool = False
    chosen: int = 0
    """The inode of the row that details are shown of; 0 = the first."""
    top: int = 0
    """The first row that is shown."""


class Screen:
    """Shows rows until the user quits."""

    def __init__(self, window: curses.window, view: View) -> None:
        self._window = window
        self._view = view
        self._ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
        self._columns = table_columns(ascii_only=self._ascii)
        self._rows: list[Row] = []
        self._host = Sample(time_usec=0)
        self.touched = asyncio.Event()
        """Set when a key was pressed, or the size is another."""
        self.ended = False

    def show(self, rows: Sequence[Row], host: Sample) -> None:
        """Show new numbers."""
        self._rows, self._host = ordered(rows, self._view.by, turned=self._view.turned), host
        self.draw()

    def shown(self) -> list[Row]:
        """Return the rows that are on the screen now."""
        height = self._window.getmaxyx()[0]
        return self._rows[self._view.top : self._view.top + height]

    def handle_keys(self) -> None:
        """Do what was typed since the last time."""
        self.touched.clear()
        while (key := self._window.getch()) != curses.ERR:
            if key in (ord("q"), ord("Q")):
                self.ended = True
            elif key == ord("r"):
                self._view.turned = not self._view.turned
            elif key in (curses.KEY_UP, ord("k"), curses.KEY_DOWN, ord("j")):
                self._move(-1 if key in (curses.KEY_UP, ord("k")) else 1)
            elif 0 <= key < 128 and chr(key) in KEYS:  # noqa: PLR2004 - ASCII
                self._view.by, self._view.turned = KEYS[chr(key)], False
            self._rows = ordered(self._rows, self._view.by, turned=self._view.turned)
        self.draw()

    def resize(self) -> None:
        """Take the terminal's new size."""
        with suppress(curses.error, OSError):
            size = os.get_terminal_size(sys.stdout.fileno())
            curses.resizeterm(size.lines, size.columns)
        self._window.clear()
        self.touched.set()

    def draw(self) -> None:
        """Write everything anew; curses sends only what differs."""
        height, width = self._window.getmaxyx()
        self._window.erase()
        index = self._index()
        detail = details(self._rows[index], width, _DETAIL_LINES) if self._rows and height > 3 * _LEAST_LINES else []
        room = max(1, height - 3 - len(detail) - bool(detail))
        self._view.top = min(max(self._view.top, index - room + 1), index)
        table = lines(self._rows[self._view.top : self._view.top + room], self._columns, width)
        self._put(0, heading(self._host, len(self._rows), self._view.by, width), curses.A_BOLD)
        self._put(1, fit(table[0], width), curses.A_REVERSE)
        for offset, line in enumerate(table[1:]):
            chosen = self._view.top + offset == index
            self._put(2 + offset, fit(line, width), curses.A_STANDOUT if chosen and detail else curses.A_NORMAL)
        for offset, line in enumerate(detail):
            self._put(height - 1 - len(detail) + offset, line, curses.A_NORMAL if offset else curses.A_BOLD)
        self._put(height - 1, fit(HELP, width), curses.A_DIM)
        self._window.refresh()

    def _index(self) -> int:
        inodes = [row.container.inode for row in self._rows]
        return inodes.index(self._view.chosen) if self._view.chosen in inodes else 0

    def _move(self, step: int) -> None:
        if self._rows:
            index = min(max(self._index() + step, 0), len(self._rows) - 1)
            self._view.chosen = self._rows[index].container.inode

    def _put(self, line: int, text: str, style: int) -> None:
        height, width = self._window.getmaxyx()
        if not 0 <= line < height:
            return
        if self._ascii:
            text = text.encode("ascii", "replace").decode()
        # the last cell of the screen cannot be written without scrolling it
        shortened = fit(text.rstrip(), width - 1) if line == height - 1 else text
        with suppress(curses.error):
            self._window.addstr(line, 0, shortened, style)


@contextmanager
def screen(view: View) -> Iterator[Screen]:
    """Take the terminal over, and give it back however this ends. Raises Unsupported where it is none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Unsupported("top needs a terminal; --once prints one table, --json is for programs")
    locale.setlocale(locale.LC_ALL, "")
    try:
        window = curses.initscr()
    except curses.error as error:
        raise Unsupported(f"this terminal (TERM={os.environ.get('TERM', '')}) cannot be used: {error}") from error
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        window.nodelay(True)
        curses.set_escdelay(25)
        with suppress(curses.error):
            curses.curs_set(0)
        yield Screen(window, view)
    finally:
        window.keypad(False)
        curses.nocbreak()
        curses.echo()
        curses.endwin()


@contextmanager
def listening(found: Screen) -> Iterator[None]:
    """Wake `found` by keys and by a new size, for as long as this is open. Ctrl-C quits as q does."""
    loop = asyncio.get_running_loop()

    def quit_() -> None:
        found.ended = True
        found.touched.set()

    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGWINCH: found.resize,
        signal.SIGINT: quit_,
        signal.SIGTERM: quit_,
    }
    loop.add_reader(sys.stdin.fileno(), found.touched.set)
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin.fileno())
        for number in handlers:
            loop.remove_signal_handler(number)
