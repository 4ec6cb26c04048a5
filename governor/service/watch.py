"""Watches the policy directories: a changed file works within a second, a bad one changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from governor.kernel.inotify import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

DEBOUNCE_SEC = 0.15
"""An editor writes, renames and removes in one go."""
REARM_SEC = 5.0
"""A directory that does not exist yet is looked for this often; until then its nearest parent is watched."""


class PolicyWatch:
    """Calls `changed` once after the files in `directories` have changed and come to rest."""

    def __init__(self, directories: Iterable[Path], changed: Callable[[], Awaitable[None]]) -> None:
        self._directories = tuple(directories)
        self._changed = changed
        self._watcher = Watcher(self._noticed)
        self._pending: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._arm()

    def close(self) -> None:
        """Stop watching."""
        self._watcher.close()
        if self._pending is not None:
            self._pending.cancel()

    def _arm(self) -> None:
        """Watch every directory, or what exists of the path to it."""
        for directory in self._directories:
            for path in (directory, *directory.parents):
                if self._watcher.watch(str(path)):
                    break

    def _noticed(self, _directory: str) -> None:
        if self._pending is not None:
            self._pending.cancel()
        self._pending = asyncio.get_running_loop().call_later(DEBOUNCE_SEC, self._run)

    def _run(self) -> None:
        self._pending = None
        if self._running is not None and not self._running.done():
            self._noticed("")
            return
        self._arm()
        self._running = asyncio.ensure_future(self._call())

    async def _call(self) -> None:
        await self._changed()
