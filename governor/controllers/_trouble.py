"""When memory is in trouble: systemd-oomd's conditions, oomd's, and swap that runs out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from governor.model.signal import Sample

RECLAIM_USEC: Final = 30 * USEC_PER_SEC
"""Reclaim must have gone on within this: pressure alone may be the past."""
FALLING: Final = 0.85
"""oomd: avg10 below this share of its previous value is on its way down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the policy says: ratios and µs."""

    limit: float
    duration_usec: int
    swap_limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong, and what ranks those who may be the cause."""

    words: str
    scan: float
    """Pages a second that reclaim looks at in this container."""
    swap_bytes: float
    own: bool
    """Whether this container itself waits for memory."""
    host: bool
    """Whether the whole host is in trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One source of pressure (the container or the host) over time. 0 = not above the limit."""

    high10_usec: int = 0
    """Since when avg10 has been above the limit."""
    high60_usec: int = 0
    last10: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is known of one container."""

    own: Line = Line()
    host: Line = Line()
    scanned_usec: int = 0
    trouble: Trouble | None = None
    known: bool = False
    """Whether this tick could be judged: what is not known neither condemns nor acquits."""


def watched(before: Watch, sample: Sample, host: Sample, keys: Keys, now_usec: int) -> Watch:
    """Return what is known after one more tick. Where a signal is absent, its time above the limit starts anew."""
    scan = sample.get("memory.scan")
    scanned = now_usec if scan is not None and scan > 0 else before.scanned_usec
    own, own_why = _line(before.own, sample, "pressure.memory.full", keys, now_usec)
    all_, all_why = _line(before.host, host, "host.pressure.memory.full", keys, now_usec)
    swap_why = _swap(host, sample, keys)
    after = replace(before, own=own, host=all_, scanned_usec=scanned, trouble=None, known=False)
    if scan is None or sample.get("pressure.memory.full_avg10") is None:
        return after
    reclaims = scanned > 0 and now_usec - scanned <= RECLAIM_USEC
    words = [f"{who} {why}" for who, why in (("its tasks", own_why), ("the host's tasks", all_why)) if why and reclaims]
    words += [swap_why] if swap_why else []
    found = Trouble(
        words=", ".join(words),
        scan=scan,
        swap_bytes=sample.get("memory.swap") or 0.0,
        own=bool(own_why),
        host=bool(all_why or swap_why),
    )
    return replace(after, known=True, trouble=found if words else None)


def _line(before: Line, sample: Sample, name: str, keys: Keys, now_usec: int) -> tuple[Line, str]:
    """Return one source after one more tick, and why it is in trouble; "" where it is not."""
    avg10, avg60 = sample.get(f"{name}_avg10"), sample.get(f"{name}_avg60")
    if avg10 is None:
        return Line(), ""
    high10 = (before.high10_usec or now_usec) if avg10 > keys.limit else 0
    high60 = (before.high60_usec or now_usec) if avg60 is not None and avg60 > keys.limit else 0
    after = Line(high10_usec=high10, high60_usec=high60, last10=avg10)
    waited = f"waited for memory {avg10:.0%} of the time (limit {keys.limit:.0%})"
    if high10 and now_usec - high10 >= keys.duration_usec:
        return after, f"all {waited} for {(now_usec - high10) / USEC_PER_SEC:.0f} s"
    rising = avg10 > keys.limit and avg10 >= FALLING * before.last10
    if high60 and rising and now_usec - high60 >= keys.duration_usec:
        return after, f"all {waited}, {avg60:.0%} over a minute"
    return after, ""


def _swap(host: Sample, sample: Sample, keys: Keys) -> str:
    """Return in words that swap and memory run out and that this container has a part in it; "" where not."""
    names = ("host.swap.free", "host.swap.total", "host.memory.available", "host.memory.total")
    free, swap, available, memory = (host.get(name) for name in names)
    if (
        not keys.swap_limit
        or not sample.get("memory.swap")
        or free is None
        or available is None
        or not swap
        or not memory
    ):
        return ""
    if free / swap >= keys.swap_limit or available / memory >= keys.swap_limit:
        return ""
    return f"free swap {free / swap:.0%} and available memory {available / memory:.0%} below {keys.swap_limit:.0%}"
