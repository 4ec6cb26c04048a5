"""One move of io-pressure on one container that yields: hold it up, give some back, ask again. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governor.controllers import _io_cap as caps_of
from governor.controllers._io_cap import FLOOR_BYTES, SIGNALS, Level, Yielder
from governor.controllers._written import Written, number, within
from governor.model.control import Decision, Expect
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.controllers._io_cap import Lane
    from governor.controllers._io_strain import Strain
    from governor.model.control import Member
    from governor.model.values import Value

WEIGHT: Final = "IOWeight"
LOW_WEIGHT: Final = 10
"""A tenth of what everybody has by default."""
CUTS: Final = ((2.0, 0.5), (1.3, 0.7), (0.0, 0.9))
"""(from this ratio of load to allowed load on, factor)."""
FIRST_GAIN: Final = 0.1
LATER_GAIN: Final = -0.5
"""The first cut must help. Later ones are finer than what can be told from the service's own changes: bounded harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """A container that yields, with what its policy says."""

    member: Member
    least: Mapping[str, Value]
    most: Mapping[str, Value]
    calm_usec: int
    lease_usec: int
    now_usec: int

    def held_up(self, yielder: Yielder, device: str, strain: Strain) -> tuple[Yielder, Decision | None]:
        """Return it held up more on `device` for the sake of the strained one; no decision where nothing is left."""
        weight = number(self.member.current, WEIGHT)
        low = within(LOW_WEIGHT, WEIGHT, self.least, self.most)
        if weight is not None and WEIGHT not in yielder.written and weight > low:
            reason = f"{strain.words()}: IOWeight of {self.member.name} {weight} -> {low}"
            return self._decided(yielder, {WEIGHT: low}, reason, _expect(strain, LATER_GAIN))
        factor = next(factor for ratio, factor in CUTS if strain.ratio > ratio)
        caps = caps_of.cut(yielder, device, factor, self._bounds(), self.now_usec)
        moved = _moved(yielder, caps)
        if not moved:
            return yielder, None
        gain = LATER_GAIN if yielder.caps else FIRST_GAIN
        reason = f"{strain.words()}: {self.member.name} has most traffic on {device}: {_words(moved, yielder)}"
        noted = self._noted(yielder, moved, strain)
        return self._decided(replace(noted, caps=caps, raises=0), self._values(caps), reason, _expect(strain, gain))

    def returned(self, yielder: Yielder, strain: Strain) -> tuple[Yielder, Decision | None]:
        """Return it one step freer: first caps rise, then they go, then the weight comes back."""
        unused = self.now_usec - max(yielder.bitten_usec, yielder.changed_usec)
        if yielder.caps:
            if unused >= self.calm_usec or caps_of.spare(yielder):
                return self._uncapped(yielder, strain, unused)
            return self._raised(yielder, strain)
        if WEIGHT in yielder.written and unused >= self.calm_usec:
            reason = f"{strain.words()}, {self.member.name} was idle for {_sec(unused)}: it gets its IOWeight back"
            return self._decided(yielder, {WEIGHT: None}, reason, ())
        return yielder, None

    def renewed(self, yielder: Yielder) -> tuple[Yielder, Decision | None]:
        """Return it with what was written asked for again where that is due, or with what it no longer needs given up.

        After a silence the engine has put an older decision of ours back: it is given up, and the search starts anew.
        """
        owed = [name for name in yielder.owed if name not in yielder.written]
        if owed and not self.member.silenced:
            reason = f"{self.member.name}: what is left of earlier limits is given up: {', '.join(owed)}"
            decision = Decision(inode=self.member.inode, reason=reason, limits=dict.fromkeys(owed))
            return replace(yielder, owed=()), decision
        due = {name: w for name, w in yielder.written.items() if w.due(self.lease_usec, self.now_usec)}
        if not due or self.member.silenced:
            return yielder, None
        again = {name: replace(w, asked_usec=self.now_usec) for name, w in due.items()}
        reason = f"{self.member.name}: still needed, renewed: {', '.join(sorted(due))}"
        limits = {name: w.value for name, w in due.items()}
        decision = Decision(inode=self.member.inode, reason=reason, limits=limits)
        return replace(yielder, written={**yielder.written, **again}), decision

    def all_back(self, yielder: Yielder, why: str) -> tuple[Yielder, Decision | None]:
        """Return it without any limit of ours."""
        if not yielder.written:
            return yielder, None
        reason = f"{self.member.name}: {why}: its limits are removed"
        decision = Decision(inode=self.member.inode, reason=reason, limits=dict.fromkeys(yielder.written))
        return replace(yielder.released(), owed=()), decision

    def _uncapped(self, yielder: Yielder, strain: Strain, unused_usec: int) -> tuple[Yielder, Decision]:
        good = {lane: Level(rate=cap, time_usec=self.now_usec) for lane, cap in yielder.caps.items()}
        idle = f"has not needed its caps for {unused_usec / USEC_PER_SEC:.0f} s"
        reason = (
            f"{strain.words()}: {self.member.name} {idle if unused_usec else 'is no longer held up'}: they are removed"
        )
        values = dict.fromkeys(name for name, _ in yielder.caps)
        freed = replace(yielder, caps={}, bad={}, raises=0, good={**yielder.good, **good})
        return self._decided(freed, values, reason, ())

    def _raised(self, yielder: Yielder, strain: Strain) -> tuple[Yielder, Decision | None]:
        ceilings = {name: high for name, (_, high) in self._bounds().items()}
        ratio = 1.0 if strain.baseline else strain.ratio  # a baseline is too rough to tell that it is far off
        caps = caps_of.raised(yielder, ceilings, ratio, self.now_usec)
        moved = _moved(yielder, caps)
        if not moved:
            return yielder, None
        reason = f"{strain.words()}: {self.member.name} gets some back: {_words(moved, yielder)}"
        return self._decided(replace(yielder, caps=caps, raises=yielder.raises + 1), self._values(caps), reason, ())

    def _noted(self, yielder: Yielder, moved: Mapping[Lane, int], strain: Strain) -> Yielder:
        """Return it with the level that was too much; only a baseline tells that well enough to go near it slowly."""
        levels = {lane: Level(rate=yielder.usage[lane], time_usec=self.now_usec) for lane in moved}
        first = {lane: yielder.usage[lane] for lane in moved if lane not in yielder.caps}
        bad = {**yielder.bad, **levels} if strain.baseline else {}
        return replace(yielder, bad=bad, free={**yielder.free, **first})

    def _bounds(self) -> dict[str, tuple[int, float]]:
        """Return the lowest and the highest cap of each property that may be moved."""
        found = {}
        for name in (name for name in SIGNALS if name in self.member.current):
            high = caps_of.bound(self.most, name, least=False)
            low = max(FLOOR_BYTES, caps_of.bound(self.least, name, least=True) or 0)
            found[name] = (low, math.inf) if high is None else (min(low, high), float(high))
        return found

    def _values(self, caps: Mapping[Lane, int]) -> dict[str, Value | None]:
        names = sorted({name for name, _ in caps})
        return {name: caps_of.value_of(name, caps, self.member.base.get(name)) for name in names}

    def _decided(
        self, yielder: Yielder, limits: Mapping[str, Value | None], reason: str, expect: tuple[Expect, ...]
    ) -> tuple[Yielder, Decision]:
        """Return it with what was written, and the decision."""
        written = {name: w for name, w in yielder.written.items() if name not in limits}
        for name, value in limits.items():
            if value is not None:
                written[name] = Written(
                    value=value,
                    since_usec=self.now_usec,
                    asked_usec=self.now_usec,
                    before=self.member.current.get(name),
                    settle_usec=0,
                )
        decision = Decision(inode=self.member.inode, reason=reason, limits=limits, expect=expect)
        owed = tuple(name for name in yielder.owed if name not in limits)
        return replace(yielder, written=written, owed=owed, changed_usec=self.now_usec), decision


def _moved(yielder: Yielder, caps: Mapping[Lane, int]) -> dict[Lane, int]:
    return {lane: cap for lane, cap in caps.items() if cap != yielder.caps.get(lane)}


def _sec(usec: int) -> str:
    return f"{usec / USEC_PER_SEC:.0f} s"


def _expect(strain: Strain, gain: float) -> tuple[Expect, ...]:
    return (Expect(inode=strain.inode, signal="pressure.io.some", gain=gain, good_enough=strain.allowed),)


def _words(moved: Mapping[Lane, int], yielder: Yielder) -> str:
    """Return what changes, in MB/s, with what it moved before."""
    return ", ".join(
        f"{name} {cap / 1e6:.1f} MB/s (moved {yielder.usage.get((name, device), 0.0) / 1e6:.1f})"
        for (name, device), cap in sorted(moved.items())
    )
