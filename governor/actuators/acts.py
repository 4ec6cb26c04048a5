"""What feedback does besides limits: ask the kernel to reclaim, kill where a policy says so. Nothing stays behind."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from governor.kernel import kill, memory
from governor.model.control import Kill, Reclaim
from governor.model.text import printable
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.kernel.cgroup import Cgroup
    from governor.model.container import Container
    from governor.model.control import Act

_NAME_LIMIT = 32


class Acts:
    """Carries acts out. `cgroup_of` returns a container's opened scope, or raises Gone."""

    def __init__(self, cgroup_of: Callable[[Container], Cgroup], threads: int = 2) -> None:
        self._cgroup_of = cgroup_of
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="act")
        self._reclaiming: set[int] = set()

    async def carry_out(self, container: Container, act: Act) -> str:
        """Return in words what was done, "" where there is nothing to tell.

        Raises Gone, Unsupported, ActuationError.
        """
        match act:
            case Reclaim():
                return await self._reclaim(container, act)
            case Kill():
                return await self._in_thread(_kill, self._cgroup_of(container).duplicate(), act.whole)
            case _:
                return ""

    def close(self) -> None:
        """Let no thread outlive the process's wish to end, even one that the kernel holds in a write."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _reclaim(self, container: Container, act: Reclaim) -> str:
        """Reclaim once; where the kernel is still at it from the last time, leave it at that."""
        cgroup = self._cgroup_of(container)
        if container.inode in self._reclaiming:
            return ""
        self._reclaiming.add(container.inode)
        try:
            return await self._in_thread(_reclaim, cgroup.duplicate(), act.size_bytes)
        finally:
            self._reclaiming.discard(container.inode)

    async def _in_thread(self, call: Callable[..., str], *arguments: object) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)


def _reclaim(mine: Cgroup, size_bytes: int) -> str:
    with mine as cgroup:
        before = memory.current_bytes(cgroup)
        memory.reclaim(cgroup, size_bytes)
        after = memory.current_bytes(cgroup)
    if before is None or after is None or INFINITY in (before, after):
        return ""
    return f"{_mebibytes(max(before - after, 0))} of {_mebibytes(size_bytes)} reclaimed"


def _kill(mine: Cgroup, whole: bool) -> str:
    with mine as cgroup:
        if whole:
            kill.kill_all(cgroup)
            return "all of its processes were killed"
        victim = kill.kill_biggest(cgroup)
    name = printable(victim.name, _NAME_LIMIT)
    return f"process {victim.pid} ({name}) was killed, which held {_mebibytes(victim.memory_bytes)}"


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
