"""What a controller wrote, what it may write, and whether somebody else wrote since. Pure, shared by controllers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.values import Value

SETTLE_USEC: Final = 5 * USEC_PER_SEC
"""How long a write may be on its way (through PID 1, after a reclaim) before another value is somebody else's."""

SAME_PARTS: Final = 100
"""Numbers within a hundredth are the same: the kernel rounds to pages and to quota periods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A value that was decided, when it last changed, and when it was last asked for (a lease is renewed)."""

    value: Value
    since_usec: int
    asked_usec: int
    before: Value | None = None
    """What stood there when it was decided."""
    settle_usec: int = SETTLE_USEC
    """How long values between the two may be seen: MemoryHigh follows usage down, others change at once (0)."""
    seen: bool = False
    """Whether it was once in force."""

    def looked(self, current: Value | None) -> Written:
        """Return it after one more look at what the kernel holds."""
        return self if self.seen or current is None or not same(self.value, current) else replace(self, seen=True)

    def foreign(self, current: Value | None, now_usec: int) -> bool:
        """Return whether `current` is somebody else's: neither this value nor, before it took effect, the old one."""
        if current is None or same(self.value, current):
            return False
        if not self.seen and self.before is not None and same(self.before, current):
            return False
        return self.seen or now_usec - self.since_usec >= self.settle_usec

    def due(self, lease_usec: int, now_usec: int) -> bool:
        """Return whether it has to be asked for again: half of its lease is over, or it never took effect."""
        waited = now_usec - self.asked_usec
        return waited >= lease_usec // 2 or (not self.seen and waited >= SETTLE_USEC)

    def lapsed(self, lease_usec: int, now_usec: int) -> bool:
        """Return whether its lease is over: what is there now is not necessarily somebody else's."""
        return now_usec - self.asked_usec >= lease_usec


def same(one: Value, other: Value) -> bool:
    """Return whether two values are equal but for the kernel's rounding."""
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other) * SAME_PARTS <= max(one, other) if INFINITY not in (one, other) else one == other
    return one == other


def number(values: Mapping[str, Value], name: str) -> int | None:
    """Return the number under `name`; None where it is absent or not a number."""
    found = values.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def within(value: int, name: str, least: Mapping[str, Value], most: Mapping[str, Value]) -> int:
    """Return `value` within a policy's bounds for the property `name`; where they contradict, the floor holds."""
    high, low = number(most, name), number(least, name)
    capped = value if high is None else min(value, high)
    return capped if low is None else max(capped, low)


def crossed(least: Mapping[str, Value], most: Mapping[str, Value]) -> str:
    """Return which properties have a `min` above their `max`, in words; "" where none has."""
    names = [name for name in least if (number(least, name) or 0) > within(INFINITY, name, {}, most)]
    return f"min is above max: {', '.join(sorted(names))}" if names else ""
