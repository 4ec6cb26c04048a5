"""A simulated workload that reacts to reclaim: pages with access rates on two LRU lists, refaults, PSI.

Mean-field: of each class of pages only the number on each list is kept, not each page. The lists work as mm/vmscan.c's:
reclaim scans the inactive list, takes what was not touched since it came there and moves the rest to the active list;
the active list feeds the inactive one when that is short. A page that is touched while it is away is a refault, costs
`fault_usec` and comes back to the active list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.model.control import Member
from governor.model.signal import Sample
from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.values import Value

PAGE = 4096
MIB = 1024 * 1024
COLD_RATE = 0.0
ACTIVATES_ABOVE = 1 / 120
"""Touches a second from which on a refault counts as one of the active working set."""


@dataclass(slots=True, kw_only=True)
class Pages:
    """Pages that are touched at one rate, as counts: on the inactive and the active list, and away."""

    rate: float
    inactive: float
    active: float = 0.0
    away: float = 0.0

    @property
    def resident(self) -> float:
        return self.inactive + self.active


@dataclass(slots=True, kw_only=True)
class MemoryPlant:
    """One container. `anon` pages go to swap (if `swap`), others are file cache. `blind`: PSI shows nothing."""

    classes: list[Pages]
    anon: bool = True
    swap: bool = True
    blind: bool = False
    fault_usec: float = 20.0
    mistakes: float = 0.005
    """Share of touched pages that a scan takes all the same."""
    unreclaimable_bytes: int = 4 * MIB
    high_bytes: int = INFINITY
    protected_bytes: int = 0
    now_usec: int = USEC_PER_SEC
    age_sec: float = 600.0
    """How long the pages of the inactive list have been there: the time in which a touch shows."""
    stalled_sec: float = 0.0
    ran_sec: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)
    averages: dict[str, float] = field(default_factory=dict)

    @classmethod
    def split(cls, size_bytes: int, cold: float, *, hot_rate: float = 1.0, **more: object) -> MemoryPlant:
        """Return a plant of `size_bytes` whose share `cold` is never touched again."""
        pages = size_bytes / PAGE
        classes = [Pages(rate=COLD_RATE, inactive=pages * cold), Pages(rate=hot_rate, inactive=pages * (1 - cold))]
        return cls(classes=classes, **more)  # type: ignore[arg-type]

    @property
    def current_bytes(self) -> int:
        return self.unreclaimable_bytes + int(sum(each.resident for each in self.classes)) * PAGE

    @property
    def slow_down(self) -> float:
        """Return the share of all time so far in which the workload waited for its own pages."""
        return self.stalled_sec / max(self.ran_sec, 1e-9)

    def given_back(self) -> float:
        """Return the share of the cold pages that are away."""
        cold = [each for each in self.classes if each.rate == COLD_RATE]
        return sum(each.away for each in cold) / max(sum(each.resident + each.away for each in cold), 1e-9)

    def reclaim(self, size_bytes: float) -> None:
        """Take pages as memory.reclaim does; it gives up after two looks at all pages."""
        left = min(size_bytes, self.current_bytes - self.protected_bytes) / PAGE
        if self.anon and not self.swap:
            self._count("memory.scan", left)
            return
        for _ in range(64):
            if left < 1 or self._scanned_all():
                return
            self._refill()
            left -= self._scan(left)

    def run(self, dt_sec: float) -> None:
        """Let the workload run: it touches its pages, and waits for those that are away."""
        faults = [each.away * (1 - math.exp(-each.rate * dt_sec)) for each in self.classes]
        wanted = sum(faults) * self.fault_usec / USEC_PER_SEC
        fits = min(1.0, dt_sec / wanted) if wanted > 0 else 1.0
        for each, fault in zip(self.classes, faults, strict=True):
            self._fault(each, fault * fits)
        stall = min(wanted, dt_sec)
        self.stalled_sec += stall
        self.ran_sec += dt_sec
        self.age_sec += dt_sec
        self.now_usec += round(dt_sec * USEC_PER_SEC)
        self._pressure(0.0 if self.blind else stall / dt_sec, dt_sec)
        over = self.current_bytes - self.high_bytes
        if over > 0:
            self._count("memory.high_events", 1)
            self.reclaim(over)

    def member(self, dt_sec: float, current: Mapping[str, Value] | None = None, *, silenced: bool = False) -> Member:
        """Return the container as a controller sees it; the counters start anew."""
        values = {name: count / dt_sec for name, count in self._all_counts().items()}
        values["memory.high_events"] = self.counts.get("memory.high_events", 0.0)
        values |= self.averages
        values["memory.current"] = float(self.current_bytes)
        values["memory.unreclaimable"] = float(self.unreclaimable_bytes)
        self.counts = {}
        holds = {"MemoryHigh": self.high_bytes, "MemoryMin": self.protected_bytes} if current is None else current
        sample = Sample(time_usec=self.now_usec, values=values)
        return Member(inode=7, name="web-1", sample=sample, current=holds, base={}, silenced=silenced)

    def _all_counts(self) -> dict[str, float]:
        names = ("scan", "steal", "refault_anon", "refault_file", "activate")
        return {f"memory.{name}": self.counts.get(f"memory.{name}", 0.0) for name in names}

    def _count(self, name: str, amount: float) -> None:
        self.counts[name] = self.counts.get(name, 0.0) + amount

    def _scanned_all(self) -> bool:
        return self.counts.get("memory.scan", 0.0) * PAGE > 2.0 * self.current_bytes

    def _untouched(self, each: Pages) -> float:
        """Return the share of the class's inactive pages that a scan takes."""
        untouched = math.exp(-each.rate * self.age_sec)
        return untouched + self.mistakes * (1 - untouched)

    def _scan(self, want: float) -> float:
        """Look at as much of the inactive list as `want` pages take; return how many were taken."""
        listed = sum(each.inactive for each in self.classes)
        takes = sum(each.inactive * self._untouched(each) for each in self.classes)
        share = min(0.25, want / takes) if takes > 0 else 0.25
        taken = 0.0
        for each in self.classes:
            looked, free = each.inactive * share, self._untouched(each)
            each.inactive -= looked
            each.away += looked * free
            each.active += looked * (1 - free)
            taken += looked * free
        self._count("memory.scan", listed * share)
        self._count("memory.steal", taken)
        return taken

    def _refill(self) -> None:
        """Keep a third of the pages on the inactive list: those that come there now have not been touched since."""
        active = sum(each.active for each in self.classes)
        inactive = sum(each.inactive for each in self.classes)
        move = (active + inactive) / 3 - inactive
        if move <= 0 or active <= 0:
            return
        self.age_sec = self.age_sec * inactive / (inactive + move)
        for each in self.classes:
            moved = each.active * move / active
            each.active -= moved
            each.inactive += moved

    def _fault(self, each: Pages, faults: float) -> None:
        each.away -= faults
        each.active += faults
        self._count("memory.refault_anon" if self.anon else "memory.refault_file", faults)
        if each.rate > ACTIVATES_ABOVE:
            self._count("memory.activate", faults)

    def _pressure(self, some: float, dt_sec: float) -> None:
        for resource in ("memory", "io"):
            self.averages[f"pressure.{resource}.some"] = some
            for span in (10, 60):
                name = f"pressure.{resource}.some_avg{span}"
                before = self.averages.get(name, 0.0)
                self.averages[name] = before + (some - before) * (1 - math.exp(-dt_sec / span))
