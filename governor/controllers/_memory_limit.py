"""memory-probe's other half: MemoryHigh at what was found to be needed, with headroom. Protect fast, take slowly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governor.controllers._written import Written, number, same, within
from governor.model.control import Decision, Expect
from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.controllers._memory_sense import Sense
    from governor.model.control import Member
    from governor.model.values import Value

MIB: Final = 1024 * 1024
ALIGN_BYTES: Final = 64 * 1024
"""Whole pages on every architecture, so that what is read back is what was decided."""
MARGIN_BYTES: Final = 100 * MIB
"""Never below what cannot be reclaimed and this much more (Senpai's floor)."""
CLEARANCE: Final = 0.02
"""What lowers MemoryHigh stays this much above usage: a limit below usage blocks whoever writes it."""
DEAD_BAND: Final = 0.05
DOWN: Final = 0.95
"""The least factor of one step down; a step up is as long as need be."""
REST_USEC: Final = 10 * USEC_PER_SEC
"""From one step down to the next."""
NEAR: Final = 0.98
"""Usage above this share of MemoryHigh is held up by it."""
HARMLESS: Final = 10.0
"""A limit is undone where it brings more than this many times the target's pressure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What is known of one container's need and its limit."""

    need_bytes: int = 0
    """0 = not found yet."""
    high_bytes: int = INFINITY
    """The MemoryHigh that we decided; INFINITY = none."""
    written: Written | None = None
    foreign: bool = False
    """Somebody else moved MemoryHigh: it is theirs."""
    owed: bool = False
    """A limit was let go of without a decision: the engine may still hold an older value."""

    def released(self) -> Hold:
        """Return the same need without a limit of ours."""
        owed = self.owed or self.written is not None
        return replace(self, high_bytes=INFINITY, written=None, owed=owed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiter:
    """What a limit may be, from the policy's keys. Shares are ratios."""

    headroom: float
    target: float
    lease: int
    least: Mapping[str, Value]
    most: Mapping[str, Value]

    def step(self, hold: Hold, member: Member, sense: Sense, *, quiet: bool) -> tuple[Hold, Decision | None]:
        """Return the next state and a MemoryHigh that is due: a first one, a step, or the same before its lease ends.

        Nothing is tightened unless it is `quiet`.
        """
        hold = self._owned(hold, member)
        if hold.owed:
            reason = f"{member.name}: what is left of an earlier MemoryHigh is given up"
            decision = Decision(inode=member.inode, reason=reason, limits={"MemoryHigh": None})
            return replace(hold, owed=False), decision
        if hold.foreign or not hold.need_bytes or "MemoryHigh" not in member.current:
            return hold, None
        if self._squeezed(hold, sense):
            hold = replace(hold, need_bytes=int(hold.need_bytes * (1 + self.headroom)))
        now = member.sample.time_usec
        value = self._next(hold, sense, number(member.base, "MemoryHigh"), now)
        if value is None or (value < hold.high_bytes and not quiet):
            return self._renewed(hold, member, sense)
        return self._decided(hold, member, sense, value)

    def wanted(self, need_bytes: int, sense: Sense) -> int:
        """Return the MemoryHigh in bytes for a need: with headroom, within the bounds, above the floors and usage."""
        return max(self._for_need(need_bytes, sense), aligned(int(sense.current_bytes * (1 + CLEARANCE))))

    def _for_need(self, need_bytes: int, sense: Sense) -> int:
        bounded = within(int(need_bytes * (1 + self.headroom)), "MemoryHigh", self.least, self.most)
        return aligned(max(bounded, sense.unreclaimable_bytes + MARGIN_BYTES, sense.protected_bytes))

    def _owned(self, hold: Hold, member: Member) -> Hold:
        """Let go of the limit where its lease ran out, or where somebody else moved it: then it is theirs."""
        now, current = member.sample.time_usec, member.current.get("MemoryHigh")
        if hold.written is None:
            return hold
        hold = replace(hold, written=hold.written.looked(current))
        if not hold.written or not hold.written.foreign(current, now):
            return hold
        return replace(hold.released(), foreign=not hold.written.lapsed(self.lease, now))

    def _squeezed(self, hold: Hold, sense: Sense) -> bool:
        """Return whether our limit holds the container up and that hurts: cache that only grows may well be held."""
        reached = sense.high_events > 0 or sense.current_bytes >= NEAR * hold.high_bytes
        return hold.written is not None and reached and sense.stall >= self.target

    def _next(self, hold: Hold, sense: Sense, base: int | None, now_usec: int) -> int | None:
        """Return the next MemoryHigh in bytes, INFINITY to give it back, None to leave it as it is."""
        up, down = (self._for_need(hold.need_bytes, sense), self.wanted(hold.need_bytes, sense))
        if min(up, down) >= (INFINITY if base is None else base):
            return INFINITY if hold.written is not None else None
        if hold.written is None:
            return down if base is None or down < base else None
        if up > hold.high_bytes and not same(up, hold.high_bytes):
            return up
        rested = now_usec - hold.written.since_usec >= REST_USEC
        lower = max(down, aligned(int(hold.high_bytes * DOWN)))
        return lower if rested and down < hold.high_bytes * (1 - DEAD_BAND) else None

    def _renewed(self, hold: Hold, member: Member, sense: Sense) -> tuple[Hold, Decision | None]:
        if hold.written is None or not hold.written.due(self.lease, member.sample.time_usec):
            return hold, None
        return self._decided(hold, member, sense, hold.high_bytes)

    def _decided(self, hold: Hold, member: Member, sense: Sense, value: int) -> tuple[Hold, Decision]:
        now, need = (member.sample.time_usec, f"needs about {hold.need_bytes / MIB:.0f} MiB")
        if value == INFINITY:
            reason = f"{member.name}: {need}, no less than MemoryHigh without us: it is given back"
            return replace(hold.released(), owed=False), Decision(
                inode=member.inode, reason=reason, limits={"MemoryHigh": None}
            )
        reason = (
            f"{member.name}: {need}, uses {sense.current_bytes / MIB:.0f} MiB: MemoryHigh {value / MIB:.0f} MiB "
            f"with {self.headroom:.0%} headroom"
        )
        written = Written(value=value, since_usec=now, asked_usec=now, before=member.current.get("MemoryHigh"))
        if hold.written is not None and value == hold.high_bytes:
            written = replace(hold.written, asked_usec=now)
        decision = Decision(
            inode=member.inode,
            reason=reason,
            limits={"MemoryHigh": value},
            expect=self._expect(member, sense) if value < hold.high_bytes else (),
        )
        return replace(hold, high_bytes=value, written=written), decision

    def _expect(self, member: Member, sense: Sense) -> tuple[Expect, ...]:
        """Return what bounds its harm: a limit saves memory, it lowers no pressure."""
        bearable = max(self.target * HARMLESS, sense.stall)
        return (Expect(inode=member.inode, signal="pressure.memory.some", gain=0.0, good_enough=bearable),)


def aligned(size_bytes: int) -> int:
    """Return `size_bytes` rounded up to ALIGN_BYTES."""
    return -(-size_bytes // ALIGN_BYTES) * ALIGN_BYTES
