"""record: what the sensors tell of the containers, into a file that `simulate` goes through again."""

from __future__ import annotations

import asyncio
import math
import os
import platform
import pwd
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from governor.cli import output
from governor.cli.client import ask
from governor.cli.exits import Exit
from governor.cli.live import Live
from governor.cli.times import interval_usec
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.host import Host
from governor.model.errors import ActuationError
from governor.model.signal import CONTAINER_SIGNALS, HOST_SIGNALS
from governor.model.values import USEC_PER_SEC
from governor.service.recording import Header, Writer

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from governor.cli.client import Client
    from governor.model.container import Container

CONTAINER_NAMES: Final = frozenset(signal.name for signal in CONTAINER_SIGNALS)
HOST_NAMES: Final = frozenset(signal.name for signal in HOST_SIGNALS)
_LIMITS_A_TICK: Final = 100
"""Of so many containers the limits are read in one tick, one after the other: they are ten files each."""


def record(arguments: Namespace) -> int:
    """Record until --for is over or Ctrl-C is pressed; either way the file is whole."""
    try:
        interval = interval_usec("--interval", arguments.interval)
        length = interval_usec("--for", arguments.duration) if arguments.duration else None
    except ValueError as error:
        output.complain(str(error))
        return Exit.USAGE
    path = Path(arguments.recording)
    try:
        root, host = CgroupRoot.find(), Host.probe()
        ticks = ask(lambda client: _record(path, Recorder.of(client, root, host, arguments, interval), length))
    except OSError as error:
        output.complain(f"{path}: {error.strerror}")
        return Exit.FAILURE
    _finished(arguments, path, ticks)
    return Exit.OK


class Recorder:
    """Samples everything once an interval and writes it down."""

    def __init__(self, live: Live, host: Host, interval: int, *, progress: bool) -> None:
        self._live = live
        self._host = host
        self._interval_sec = interval / USEC_PER_SEC
        self._interval = interval
        self._progress = progress
        self._written: dict[int, Container] = {}
        self._turn = 0

    @classmethod
    def of(cls, client: Client, root: CgroupRoot, host: Host, arguments: Namespace, interval: int) -> Recorder:
        """Return a recorder of what the command line asks for."""
        progress = sys.stderr.isatty() and not arguments.json
        return cls(Live(client, root, arguments.containers), host, interval, progress=progress)

    async def run(self, file: BinaryIO, stop: asyncio.Event, length: int | None) -> int:
        """Record into `file` until `stop` is set or `length` µs are over; return the number of ticks."""
        await self._live.start()
        self._sample()  # rates need a first look that nothing is written of
        started = due = time.monotonic()
        end = math.inf if length is None else started + length / USEC_PER_SEC + self._interval_sec / 2
        writer = Writer(file, self._header())
        try:
            # what was missed is not made up for
            while (due := max(due + self._interval_sec, time.monotonic())) < end:
                if await _is_set(stop, due - time.monotonic()):
                    break
                await self._live.refresh()
                self._tick(writer)
                self._tell(writer, file, time.monotonic() - started)
        finally:
            writer.close()
            self._live.close()
        return writer.ticks

    def _tick(self, writer: Writer) -> None:
        now_usec, host, samples = self._sample()
        for inode in self._written.keys() - self._live.watched.keys():
            writer.gone(inode)
            del self._written[inode]
        for inode, one in self._live.watched.items():
            if self._written.get(inode) is not one.container:
                self._written[inode] = one.container
                writer.container(one.container)
                writer.limits(inode, self._live.limits(inode, self._host))
            writer.originals(inode, one.originals)
        for inode in self._due():
            writer.limits(inode, self._live.limits(inode, self._host))
        writer.tick(now_usec, host, {inode: one for inode, one in samples.items() if inode in self._written})

    def _due(self) -> Iterable[int]:
        """Return the containers whose limits are read now."""
        stride = -(-len(self._live.watched) // _LIMITS_A_TICK) or 1
        self._turn += 1
        return [inode for index, inode in enumerate(self._live.watched) if (index + self._turn) % stride == 0]

    def _sample(self) -> tuple[int, Any, dict[int, Any]]:
        now_usec = time.monotonic_ns() // 1000
        return now_usec, self._live.host(HOST_NAMES, now_usec), self._live.sample(CONTAINER_NAMES, now_usec)

    def _header(self) -> Header:
        users = {one.container.user for one in self._live.watched.values()} - {None}
        return Header(
            started_usec=time.time_ns() // 1000,
            monotonic_usec=time.monotonic_ns() // 1000,
            interval_usec=self._interval,
            host=self._host,
            hostname=platform.node(),
            users={uid: _user_name(uid) for uid in users if uid is not None},
        )

    def _tell(self, writer: Writer, file: BinaryIO, seconds: float) -> None:
        if self._progress:
            size = f"{file.tell() / 1024:.0f} KiB"
            line = f"{seconds:.0f} s, {len(self._live.watched)} containers, {writer.ticks} ticks, {size}; Ctrl-C ends"
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


async def _record(path: Path, recorder: Recorder, length: int | None) -> int:
    """Record into a new file at `path`; what is there is replaced only once there is something to replace it."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    part = path.with_name(f"{path.name}.part")
    file = _created(part)
    try:
        with file:
            ticks = await recorder.run(file, stop, length)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return ticks


def _created(path: Path) -> BinaryIO:
    """Return a new file, open for writing: of the user's own, since labels are in it, and never through a link."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


async def _is_set(stop: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(seconds, 0))
    return stop.is_set()


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _finished(arguments: Namespace, path: Path, ticks: int) -> None:
    if sys.stderr.isatty() and not arguments.json:
        print(file=sys.stderr)
    if not ticks:
        raise ActuationError(f"{path} holds no tick: it was ended before the first one")
    if arguments.json:
        output.print_json({"file": str(path), "ticks": ticks, "bytes": path.stat().st_size})
    else:
        print(f"{output.safe(str(path))}: {ticks} ticks, {path.stat().st_size} bytes")
