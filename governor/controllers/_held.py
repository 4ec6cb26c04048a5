"""Whether what a controller asked for stands: in force, still on its way, or displaced by somebody else.

A limit that somebody else changed is taken as it is, never fought over (koordinator#1734). Fast loops also need to know
when a value took effect: what was measured before that says nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Self

from governor.controllers._written import same
from governor.model.values import USEC_PER_SEC

LATE_USEC: Final = 3 * USEC_PER_SEC
"""A write that has not shown after this was refused, or lost against another decision."""


class Stand(Enum):
    """Whose the value in force is."""

    OURS = auto()
    """What was asked for; or nothing was asked for yet."""
    ON_ITS_WAY = auto()
    """Still what stood before: the write has not happened yet."""
    FOREIGN = auto()
    """Another value: somebody else's, or the write was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The last value of one property that a controller asked for, and what stood there before."""

    value: int
    before: int
    since_usec: int
    """When it was asked for first (CLOCK_MONOTONIC)."""
    asked_usec: int
    """When it was asked for last: a lease is renewed."""
    seen: bool = False
    """Whether `value` was once in force."""

    @classmethod
    def now(cls, value: int, before: int, now_usec: int) -> Self:
        """Return what is held once `value` is asked for in place of `before`."""
        return cls(value=value, before=before, since_usec=now_usec, asked_usec=now_usec)

    def stand(self, current: int, now_usec: int) -> Stand:
        """Return whose the value in force, `current`, is."""
        if same(current, self.value):
            return Stand.OURS
        in_time = now_usec - self.since_usec < LATE_USEC
        return Stand.ON_ITS_WAY if in_time and not self.seen and same(current, self.before) else Stand.FOREIGN

    def renewed(self, now_usec: int) -> Self:
        """Return it as asked for again."""
        return replace(self, asked_usec=now_usec)

    def due(self, lease_usec: int, now_usec: int) -> bool:
        """Return whether half of its lease is over: renewed then, one lost renewal does no harm."""
        return now_usec - self.asked_usec >= lease_usec // 2


def follow(held: Held | None, current: int, now_usec: int) -> tuple[Held | None, Stand]:
    """Return what is held now and whose the value in force, `current`, is; what was displaced is held no more."""
    if held is None:
        return None, Stand.OURS
    stand = held.stand(current, now_usec)
    if stand is Stand.OURS and not held.seen:
        held = replace(held, seen=True)
    return (None if stand is Stand.FOREIGN else held), stand
