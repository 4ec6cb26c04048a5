"""What controllers of limits share: the properties' names, CPU quota in whole percents, and a property's bounds.

Quotas are µs of CPU time a second (CPUQuotaPerSecUSec), 10,000 of which are 1% of one CPU. They move in whole percents:
systemd's CPUQuota= is spelled so, and what the kernel shows after a write is then the same number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from governor.controllers._written import number
from governor.model.directives import BY_PROPERTY
from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.model.control import Controller, Member
    from governor.model.values import Value

QUOTA: Final = "CPUQuotaPerSecUSec"
PERIOD: Final = "CPUQuotaPeriodUSec"
BURST: Final = "CPUBurstUSec"
WEIGHT: Final = "CPUWeight"
MEMORY_HIGH: Final = "MemoryHigh"

PERCENT_USEC: Final = 10_000
"""1% of a CPU: the step in which quotas move."""

FLOOR_USEC: Final = 5 * PERCENT_USEC
"""No container gets less than 5% of a CPU (Meta's sideloader), whatever a controller computes."""

DEAD_BAND: Final = 0.01
"""A smaller relative change is not worth a write."""


def whole(quota_usec: float) -> int:
    """Return the quota in µs a second rounded up to a whole percent of a CPU, INFINITY unchanged."""
    return INFINITY if quota_usec >= INFINITY else math.ceil(round(quota_usec) / PERCENT_USEC) * PERCENT_USEC


def of_cores(cores: float) -> int:
    """Return `cores` (CPU seconds a second) as a quota in µs a second, rounded up to a whole percent of a CPU."""
    return whole(cores * USEC_PER_SEC)


def at_most(cores: float) -> int:
    """Return `cores` as a quota in µs a second, rounded down to a whole percent; INFINITY for infinitely many."""
    return INFINITY if cores == math.inf else round(cores * USEC_PER_SEC) // PERCENT_USEC * PERCENT_USEC


def quota_text(quota_usec: int) -> str:
    """Return a quota as CPUQuota= spells it, "none" where there is none."""
    return "none" if quota_usec == INFINITY else f"{quota_usec / PERCENT_USEC:g}%"


def bounds(settings: Controller, base: Mapping[str, Value], name: str, floor: int) -> tuple[int, int]:
    """Return the lowest and the highest value that `settings` allow the property, in the property's unit.

    Without a `max` the static limit (in `base`) is the highest: feedback loosens what an administrator set only
    where the policy says how far. A floor beats a cap.
    """
    low = max(number(settings.min, name) or 0, floor)
    highest = number(settings.max if name in settings.max else base, name)
    return low, max(low, INFINITY if highest is None else highest)


def quota_bounds(settings: Controller, member: Member) -> tuple[int, int]:
    """Return the lowest and the highest quota that `settings` allow, in µs a second, both whole percents of a CPU."""
    low, high = bounds(settings, member.base, QUOTA, FLOOR_USEC)
    low = whole(low)
    return low, high if high == INFINITY else max(low, high - high % PERCENT_USEC)


def bounds_complaint(settings: Controller, moves: Iterable[str]) -> str:
    """Return what is wrong with `min` and `max` of a controller that moves these properties, "" where nothing is."""
    moved = frozenset(moves)
    for key, table in (("min", settings.min), ("max", settings.max)):
        for name in table:
            directive = BY_PROPERTY[name].name if name in BY_PROPERTY else name
            if name not in moved:
                return f"{key}.{directive}: {settings.name} does not move {directive}"
            if number(table, name) is None:
                return f"{key}.{directive}: {settings.name} needs an amount here, not a share of the host"
    return _crossed(settings)


def _crossed(settings: Controller) -> str:
    for name in settings.min.keys() & settings.max.keys():
        low, high = number(settings.min, name), number(settings.max, name)
        if low is not None and high is not None and low > high:
            directive = BY_PROPERTY[name].name
            return f"min.{directive} is above max.{directive}: no value is left between them"
    return ""
