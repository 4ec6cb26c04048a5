"""What wakes the loop before its tick is due: pressure that rises, and memory events. Neither decides anything."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from governor.kernel.events import EventFiles
from governor.kernel.psi import PsiTriggers
from governor.model.errors import Gone, Unsupported
from governor.model.signal import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.kernel.cgroup import Cgroup

log = logging.getLogger(__name__)

STALL_USEC: Final = 150_000
WINDOW_USEC: Final = 1_000_000
"""Tasks that waited 150 ms of a second: the kernel tells at most once a window."""
_EVENTS: Final = "memory.events"


class Wakes:
    """Keeps triggers on those containers whose controllers read pressure or memory events. Belongs to the loop."""

    def __init__(self, wake: Callable[[], None], complain: Callable[[str], None]) -> None:
        self._wake = wake
        self._complain = complain
        self._armed: dict[int, frozenset[str]] = {}
        self._refused: set[str] = set()
        self._pressure = PsiTriggers(lambda _inode: wake())
        self._events: EventFiles | None = None
        with suppress(Unsupported):
            self._events = EventFiles(lambda _inodes: wake())

    def keep(self, wanted: Mapping[int, tuple[Cgroup, frozenset[str]]]) -> None:
        """Watch exactly these: by inode, the opened cgroup and the signals that its controllers read."""
        for inode in [inode for inode in self._armed if inode not in wanted]:
            self.drop(inode)
        for inode, (cgroup, signals) in wanted.items():
            watched = frozenset(_watched(signals))
            if self._armed.get(inode) != watched:
                self.drop(inode)
                self._armed[inode] = watched
                for what in watched:
                    self._arm(cgroup, what)

    def drop(self, inode: int) -> None:
        """Watch one container no more."""
        if self._armed.pop(inode, None) is not None:
            self._pressure.remove(inode)
            if self._events is not None:
                self._events.remove(inode)

    def close(self) -> None:
        """Watch nothing more."""
        self._pressure.close()
        if self._events is not None:
            self._events.close()

    def _arm(self, cgroup: Cgroup, what: str) -> None:
        try:
            if what != _EVENTS:
                self._pressure.add(cgroup, what, "some", STALL_USEC, WINDOW_USEC)
            elif self._events is not None:
                self._events.add(cgroup)
        except Gone:
            return
        except Unsupported as error:
            if what not in self._refused:
                self._refused.add(what)
                self._complain(f"{error}: the loop is not woken early by it, and sees it with its next tick")


def _watched(signals: frozenset[str]) -> set[str]:
    """Return the resources whose pressure is read, and memory.events where one of its counters is."""
    found = {resource for resource in RESOURCES if any(one.startswith(f"pressure.{resource}.") for one in signals)}
    events = any(one.startswith("memory.") and one.endswith(("_events", "_kills")) for one in signals)
    return found | ({_EVENTS} if events else set())
