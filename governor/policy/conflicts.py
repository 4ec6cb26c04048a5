"""Combinations of limits that cannot all hold, in one policy or in several that meet in one container."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, TypeGuard

from governor.model.directives import BY_PROPERTY
from governor.model.values import INFINITY, USEC_PER_SEC, Share, Value
from governor.policy.spelling import spell_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_QUOTA: Final = "CPUQuotaPerSecUSec"
_PERIOD: Final = "CPUQuotaPeriodUSec"
_BURST: Final = "CPUBurstUSec"
_MEMORY: Final = ("MemoryMin", "MemoryLow", "MemoryHigh", "MemoryMax")
_LISTS: Final = (("IPAddressAllow", "IPAddressDeny"), ("SocketBindAllow", "SocketBindDeny"))

DEFAULT_PERIOD_USEC: Final = 100_000
"""The period of CPUQuota= where none is given: systemd.resource-control(5)."""
MIN_PERIOD_USEC: Final = 1000
"""The kernel's min_cfs_quota_period, which systemd clamps to."""
MAX_PERIOD_USEC: Final = USEC_PER_SEC
"""The kernel's max_cfs_quota_period, which systemd clamps to."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why `properties` cannot hold together, or why a single one cannot hold at all; the first is to blame."""

    properties: tuple[str, ...]
    message: str
    missing: str = ""
    """The directive whose absence is the conflict, if it is one."""


def conflicts(limits: Mapping[str, Value]) -> tuple[Conflict, ...]:
    """Return every impossible combination among `limits`, which is keyed by D-Bus property."""
    return (*_memory(limits), *_period(limits), *_burst(limits), *_identical(limits))


def _memory(limits: Mapping[str, Value]) -> Iterator[Conflict]:
    """MemoryMin ≤ MemoryLow ≤ MemoryHigh ≤ MemoryMax, as far as the values can be compared.

    A percentage cannot be compared with bytes on another host, and infinity is meaningful anywhere: it protects or
    leaves alone whatever there is.
    """
    for lower, upper in combinations([name for name in _MEMORY if name in limits], 2):
        if _exceeds(limits[lower], limits[upper]):
            yield Conflict((lower, upper), f"{_said(limits, lower)} is above {_said(limits, upper)}")


def _exceeds(low: Value, high: Value) -> bool:
    if isinstance(low, Share) and isinstance(high, Share):
        return low > high
    return _finite(low) and _finite(high) and low > high


def _period(limits: Mapping[str, Value]) -> Iterator[Conflict]:
    period = limits.get(_PERIOD)
    if isinstance(period, int) and not MIN_PERIOD_USEC <= period <= MAX_PERIOD_USEC:
        yield Conflict((_PERIOD,), f'{_said(limits, _PERIOD)} is outside 1ms to 1s, as in "50ms"')
    for name in (_PERIOD, _BURST):
        if name in limits and _QUOTA not in limits:
            yield Conflict((name,), f'{_said(limits, name)} needs a CPUQuota beside it, as in "150%"', "CPUQuota")


def _burst(limits: Mapping[str, Value]) -> Iterator[Conflict]:
    """cpu.max.burst must not be above the quota of one period: the kernel answers EINVAL (sched/core.c)."""
    burst, quota = limits.get(_BURST), limits.get(_QUOTA)
    if burst == INFINITY:
        yield Conflict(
            (_BURST,), f'{_said(limits, _BURST)} is not a time that can be saved up; write one, as in "20ms"'
        )
    elif _finite(burst) and _finite(quota):
        per_period = quota_per_period_usec(quota, limits.get(_PERIOD))
        if burst > per_period:
            message = (
                f"{_said(limits, _BURST)} is above the {per_period} us that {_said(limits, _QUOTA)} gives a period"
            )
            yield Conflict((_BURST, _QUOTA), message)


def quota_per_period_usec(quota_per_sec_usec: int, period_usec: Value | None) -> int:
    """Return what systemd writes as the first field of cpu.max, in µs; at least 1 ms (cgroup.c)."""
    period = period_usec if _finite(period_usec) else DEFAULT_PERIOD_USEC
    period = min(max(period, MIN_PERIOD_USEC), MAX_PERIOD_USEC)
    return max(quota_per_sec_usec * period // USEC_PER_SEC, MIN_PERIOD_USEC)


def _identical(limits: Mapping[str, Value]) -> Iterator[Conflict]:
    """Find deny lists that do nothing: an allow list wins, so one that says the same undoes them."""
    for allow, deny in _LISTS:
        if limits.get(allow) and limits.get(allow) == limits.get(deny):
            yield Conflict((deny, allow), f"{_said(limits, deny)} is exactly what {allow} allows, so it denies nothing")


def _finite(value: Value | None) -> TypeGuard[int]:
    return isinstance(value, int) and value != INFINITY


def _said(limits: Mapping[str, Value], name: str) -> str:
    text = spell_line(name, limits[name])
    return f'{BY_PROPERTY[name].name} "{text if len(text) <= 60 else text[:59] + "…"}"'  # noqa: PLR2004 - as in quoted()
