"""Samples containers in one worker thread, which alone opens, reads and closes the cgroups that it samples."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from governor.kernel.cgroup import Cgroup, CgroupRoot
    from governor.model.container import Container
    from governor.model.signal import Sample
    from governor.sensors import Sensors


log = logging.getLogger(__name__)

_T = TypeVar("_T")
Asked: TypeAlias = tuple["Container", frozenset[str]]
"""A container, and the signals that are wanted of it."""


class Sampling:
    """Asks the sensors, off the event loop."""

    def __init__(self, root: CgroupRoot, sensors: Sensors) -> None:
        self._root = root
        self._sensors = sensors
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sample")
        self._open: dict[int, Cgroup] = {}
        self._said: set[str] = set()

    async def sample(self, wanted: Iterable[Asked], stream: str = "tick") -> dict[int, Sample]:
        """Return a sample by inode of each container that is still there; rates are since its last in this stream."""
        asked = tuple(wanted)
        return await self._in_thread(lambda: self._sample(asked, stream))

    async def host(self, wanted: frozenset[str]) -> Sample:
        """Return a sample of the host."""
        return await self._in_thread(lambda: self._sensors.host(wanted, _now_usec()))

    def forget(self, inode: int) -> None:
        """Close what is open of a container that ended, soon."""
        self._thread.submit(self._forget, inode)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _sample(self, wanted: Iterable[Asked], stream: str) -> dict[int, Sample]:
        found = {}
        for container, signals in wanted:
            try:
                sample = self._sensors.sample(self._cgroup(container), signals, _now_usec(), stream)
            except Gone:
                self._forget(container.inode)
            except Unsupported as error:
                self._complain(str(error))
            else:
                found[container.inode] = sample
        return found

    def _complain(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            log.warning("%s: what cannot be sampled is not governed by feedback", words)

    def _cgroup(self, container: Container) -> Cgroup:
        cgroup = self._open.get(container.inode)
        if cgroup is None:
            cgroup = self._root.open(container.cgroup)
            if cgroup.inode != container.inode:
                cgroup.close()
                raise Gone(f"{container.cgroup!r} is another cgroup by now")
            self._open[container.inode] = cgroup
        return cgroup

    def _forget(self, inode: int) -> None:
        self._sensors.forget(inode)
        cgroup = self._open.pop(inode, None)
        if cgroup is not None:
            cgroup.close()


def _now_usec() -> int:
    return time.monotonic_ns() // 1000
