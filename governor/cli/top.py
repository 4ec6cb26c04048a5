"""top: what each container uses, how much it waits, its limits and who set them; on a screen, or once."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from governor.cli import output
from governor.cli.client import ask
from governor.cli.exits import Exit
from governor.cli.live import Live
from governor.cli.times import interval_usec
from governor.cli.top_layout import heading, lines, table_columns
from governor.cli.top_rows import HOST_SIGNALS, LIMITS, SIGNALS, Held, Histories, Row, held_of, ordered, row_of
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.host import Host
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from governor.cli.client import Client
    from governor.cli.top_screen import Screen
    from governor.model.signal import Sample

EXPLAINED_SEC: Final = 10.0
"""How long an explanation counts as news."""
EXPLAINED_AT_ONCE: Final = 5
"""How many containers the daemon is asked about with each look: those on the screen, the oldest news first."""
_WIDE: Final = 200
_FIRST_SEC: Final = 0.3
"""The first numbers come sooner than an interval, but not of so short a time that they mean nothing."""


def top(arguments: Namespace) -> int:
    """Show the containers until the user quits; once with --once and --json."""
    try:
        interval = interval_usec("--interval", arguments.interval) / USEC_PER_SEC
    except ValueError as error:
        output.complain(str(error))
        return Exit.USAGE
    root, host = CgroupRoot.find(), Host.probe()

    async def work(client: Client) -> None:
        watcher = Watcher(client, root, host)
        try:
            await watcher.start()
            await (_once if arguments.once or arguments.json else _live)(arguments, watcher, interval)
        finally:
            watcher.close()

    ask(work)
    return Exit.OK


class Watcher:
    """Looks at all containers, and asks the daemon about their limits now and then."""

    def __init__(self, client: Client, root: CgroupRoot, host: Host) -> None:
        self._client = client
        self._host = host
        self._live = Live(client, root)
        self._histories = Histories()
        self._held: dict[int, tuple[Held, ...]] = {}
        self._asked: dict[int, float] = {}

    async def start(self) -> None:
        """Read the list and take the first look, which rates are counted from."""
        await self._live.start()
        self.look()

    def look(self) -> tuple[list[Row], Sample]:
        """Return a row of each container, and the host."""
        now_usec = time.monotonic_ns() // 1000
        samples = self._live.sample(SIGNALS, now_usec)
        rows = []
        for inode, sample in samples.items():
            limits = self._live.limits(inode, self._host, LIMITS)
            row = row_of(self._live.watched[inode].container, sample, limits, self._held.get(inode, ()))
            self._histories.add(row)
            rows.append(row)
        self._histories.keep(samples)
        return rows, self._live.host(HOST_SIGNALS, now_usec)

    async def refresh(self) -> None:
        """Read the list anew where it has changed."""
        if await self._live.refresh():
            for known in (self._held, self._asked):
                for inode in known.keys() - self._live.watched.keys():
                    del known[inode]

    async def explain(self, rows: Iterable[Row], at_once: int = EXPLAINED_AT_ONCE) -> None:
        """Ask who set the limits of `rows`: of those that are shown, the oldest news first."""
        now = time.monotonic()
        due = [row for row in rows if now - self._asked.get(row.container.inode, -EXPLAINED_SEC) >= EXPLAINED_SEC]
        due.sort(key=lambda row: self._asked.get(row.container.inode, 0.0))
        for row in due[:at_once]:
            inode = row.container.inode
            self._asked[inode] = now
            # an id may be another's by now, and the daemon may be on its way back
            with suppress(Gone, Unsupported, ActuationError):
                self._held[inode] = held_of((await self._client.manager("Explain", "s", [row.container.id]))[0])
            row.held = self._held.get(inode, ())

    def close(self) -> None:
        """Close every file."""
        self._live.close()


async def _once(arguments: Namespace, watcher: Watcher, interval_sec: float) -> None:
    """Print one look: what was used in one interval."""
    await asyncio.sleep(interval_sec)
    rows, host = watcher.look()
    await watcher.explain(rows, at_once=len(rows))
    rows = ordered(rows, arguments.sort)
    if arguments.json:
        output.print_json([row.as_dict() for row in rows])
        return
    # a line that somebody's script reads is not cut to a terminal that is not there
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    columns = [column for column in table_columns() if column.title]
    print(heading(host, len(rows), arguments.sort, width).rstrip())
    for line in lines(rows, columns, width):
        print(line)


async def _live(arguments: Namespace, watcher: Watcher, interval_sec: float) -> None:
    """Look and show, until the user quits."""
    from governor.cli.top_screen import View, listening, screen  # noqa: PLC0415 - --once needs no curses

    with screen(View(by=arguments.sort)) as found, listening(found):
        await _until_quit(found, watcher, interval_sec)


async def _until_quit(found: Screen, watcher: Watcher, interval_sec: float) -> None:
    due = time.monotonic() + min(interval_sec, _FIRST_SEC)
    while not found.ended:
        if time.monotonic() >= due:
            due = max(due + interval_sec, time.monotonic())
            await watcher.refresh()
            rows, host = watcher.look()
            found.show(rows, host)
            await watcher.explain(found.shown())
        with suppress(TimeoutError):
            await asyncio.wait_for(found.touched.wait(), max(due - time.monotonic(), 0))
            found.handle_keys()
