"""Lowering memory limits without harm: reclaim first, in bounded steps, in a worker; never through PID 1.

A write to memory.high below usage blocks its writer until the kernel has reclaimed (systemd#37211), and a write to
memory.max below usage OOM-kills (Documentation/admin-guide/cgroup-v2.rst). So the limit follows usage down.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.kernel import memory
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.actuators.writers import Site
    from governor.kernel.cgroup import Cgroup

LIMITS = ("MemoryHigh", "MemoryMax")
FILES = {"MemoryHigh": "memory.high", "MemoryMax": "memory.max"}

STEP_FLOOR_BYTES = 8 * 1024 * 1024
STEP_PARTS = 16
"""One reclaim asks for a sixteenth of what is used: bounded work for the kernel, and for the workload that refaults."""

MARGIN_PARTS = 20
"""MemoryMax stays 5 % above usage: growth between our look and the kernel's must not kill."""

PAGE_BYTES = 4096


@dataclass(slots=True)
class _Retreat:
    """How long to leave a cgroup in peace whose usage does not go down."""

    usage_bytes: int
    wait_sec: float
    not_before: float


class Room:
    """Makes room beneath a limit that is to be lowered. One instance a process; few threads, since writes may block."""

    def __init__(self, threads: int = 4) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reclaim")
        self._retreats: dict[tuple[int, str], _Retreat] = {}
        self._busy: set[int] = set()

    async def lower(self, site: Site, name: str, want: int, patience_sec: float) -> int:
        """Return the value that may be set now: `want`, or as near as usage lets us get within `patience_sec`.

        Where usage does not follow, later calls do nothing for a while that doubles up to a minute, and return the
        limit that stands. Raises Gone and ActuationError.
        """
        usage = memory.current_bytes(site.cgroup)
        if usage is None or usage + self._margin(name, usage) <= want:
            return want
        key = (site.cgroup.inode, name)
        if self._resting(key, usage) or site.cgroup.inode in self._busy:
            return self._standing(site, name, want)
        self._busy.add(site.cgroup.inode)
        try:
            return await self._approach(site, name, want, patience_sec)
        finally:
            self._busy.discard(site.cgroup.inode)

    def forget(self, inode: int) -> None:
        """Drop what is remembered of a cgroup that ended."""
        for key in [key for key in self._retreats if key[0] == inode]:
            del self._retreats[key]

    def close(self) -> None:
        """Let no thread outlive the process's wish to end, even one that the kernel holds in a write."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _approach(self, site: Site, name: str, want: int, patience_sec: float) -> int:
        deadline = time.monotonic() + patience_sec
        before = usage = memory.current_bytes(site.cgroup) or 0
        while usage + self._margin(name, usage) > want and time.monotonic() < deadline:
            step = min(usage - want + self._margin(name, usage), max(STEP_FLOOR_BYTES, usage // STEP_PARTS))
            await self._in_thread(deadline - time.monotonic(), _reclaim, site.cgroup.duplicate(), step)
            last, usage = usage, memory.current_bytes(site.cgroup) or 0
            if usage >= last:
                break
        self._remember((site.cgroup.inode, name), before, usage)
        feasible = max(want, _round_up(usage + self._margin(name, usage)))
        standing = self._standing(site, name, want)
        return min(feasible, standing) if standing != want else feasible

    async def hold(self, site: Site, value: int) -> bool:
        """Write memory.high by file before systemd does, in a worker: whoever is blocked by it, it is not PID 1.

        Return False where the kernel is still reclaiming after 5 s: the limit stands, systemd must not write it yet.
        """
        return await self._in_thread(5.0, _write_high, site.cgroup.duplicate(), value)

    async def _in_thread(self, seconds: float, call: Callable[..., object], *arguments: object) -> bool:
        """Return whether `call` ended within `seconds`; where not it goes on, and nobody waits."""
        work = asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)
        try:
            await asyncio.wait_for(asyncio.shield(work), max(seconds, 0.05))
        except TimeoutError:
            work.add_done_callback(_drop)
            return False
        return True

    @staticmethod
    def _margin(name: str, usage: int) -> int:
        return usage // MARGIN_PARTS if name == "MemoryMax" else 0

    @staticmethod
    def _standing(site: Site, name: str, want: int) -> int:
        """Return the limit that is in force now; `want` where none can be read."""
        text = site.cgroup.read(FILES[name])
        if text is None:
            return want
        return INFINITY if text.strip() == "max" else int(text)

    def _resting(self, key: tuple[int, str], usage: int) -> bool:
        retreat = self._retreats.get(key)
        return retreat is not None and usage >= retreat.usage_bytes and time.monotonic() < retreat.not_before

    def _remember(self, key: tuple[int, str], before: int, after: int) -> None:
        """Double the pause where less than 1 % came free; start anew where reclaim helped."""
        last = self._retreats.get(key)
        if after < before - before // 100:
            self._retreats.pop(key, None)
            return
        wait = min(60.0, last.wait_sec * 2 if last else 2.0)
        self._retreats[key] = _Retreat(after - after // 50, wait, time.monotonic() + wait)


def _reclaim(mine: Cgroup, size_bytes: int) -> None:
    with mine as cgroup:
        memory.reclaim(cgroup, size_bytes)


def _write_high(mine: Cgroup, value: int) -> None:
    with mine as cgroup:
        cgroup.write(FILES["MemoryHigh"], str(value))


def _round_up(value: int) -> int:
    return -(-value // PAGE_BYTES) * PAGE_BYTES


def _drop(work: asyncio.Future[object]) -> None:
    """Fetch the result of a write that ended after we stopped waiting, so that nothing is reported as unhandled."""
    if not work.cancelled():
        work.exception()
