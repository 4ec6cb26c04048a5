"""What io-pressure knows of a container that yields: its traffic, its caps, and how far they go down and up.

A lane is one direction on one device: (property, "major:minor"). Cuts are multiplicative and at once; raises are small,
and smaller near the level that was too much last time, so that the caps settle instead of swinging.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.controllers._written import Written
    from governor.model.signal import Sample
    from governor.model.values import Value

Lane: TypeAlias = tuple[str, str]

FLOOR_BYTES: Final = 1_000_000
"""No cap is lower than this, a second."""
USAGE_SEC: Final = 1.0
"""Time constant of the traffic's mean."""
SHARE: Final = 0.1
"""A direction with less than this of a device's traffic is not cut."""
RISING: Final = 1.7
"""More than this times its mean: it has just begun, and what it moves of its own accord is not known yet."""
BITES: Final = 0.7
"""A cap of which this much is used holds the container up."""
STEP_UP: Final = 0.1
LONGER: Final = 0.05
LONGEST: Final = 0.5
"""A step up is a tenth, each further one a twentieth more, at most half."""
FAR: Final = 0.5
"""Where whoever waits longest waits less than this of what it may, a step up doubles: it waited for something else."""
NEAR: Final = ((0.5, LONGEST), (0.8, STEP_UP), (1.02, 0.02), (math.inf, LONGEST))
"""(up to this share of what was too much last time, longest step up). Beyond it that level is disproved."""
FORGET_USEC: Final = 120 * USEC_PER_SEC
"""How long a level stays known as too much."""
RETURN_USEC: Final = 600 * USEC_PER_SEC
"""How long the last cap is remembered after it was given back: trouble that returns is met where it ended."""

SIGNALS: Final = {"IOReadBandwidthMax": "io.read_bytes@", "IOWriteBandwidthMax": "io.write_bytes@"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A number of bytes a second and when it was seen."""

    rate: float
    time_usec: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Yielder:
    """What is known of one container that yields."""

    usage: Mapping[Lane, float] = field(default_factory=dict)
    """Mean traffic, bytes a second."""
    rising: frozenset[str] = frozenset()
    """Devices on which its traffic has only begun: a cut would start from what it moved in a part of a tick."""
    read: bool = False
    """Whether all of its traffic was read in this tick."""
    caps: Mapping[Lane, int] = field(default_factory=dict)
    bad: Mapping[Lane, Level] = field(default_factory=dict)
    """The lowest cap that was too much."""
    good: Mapping[Lane, Level] = field(default_factory=dict)
    """The last cap, remembered after it was given back."""
    free: Mapping[Lane, float] = field(default_factory=dict)
    """Traffic before the first cut: a cap far above it limits nothing."""
    written: Mapping[str, Written] = field(default_factory=dict)
    owed: tuple[str, ...] = ()
    """Properties that were let go of without a decision: the engine may still hold an older value."""
    raises: int = 0
    """Steps up since the last cut: they get longer."""
    changed_usec: int = 0
    bitten_usec: int = 0
    """When a cap of ours was last felt."""
    avoid_until_usec: int = 0
    """Somebody else moved its limits: it is left alone until then."""

    def on(self, device: str) -> float:
        """Return its traffic on a device, bytes a second."""
        return sum(rate for (_, where), rate in self.usage.items() if where == device)

    def released(self) -> Yielder:
        """Return it without limits of ours; traffic and last caps stay known."""
        owed = tuple(sorted({*self.owed, *self.written}))
        return replace(self, caps={}, written={}, bad={}, owed=owed)


def observed(before: Yielder, sample: Sample, dt_sec: float) -> Yielder:
    """Return it with this tick's traffic; lanes that are absent keep their mean."""
    weight = 1 - math.exp(-dt_sec / USAGE_SEC)
    usage = dict(before.usage)
    rising = set()
    lanes = (f"{SIGNALS[name]}{device}" for name, device in usage)
    whole = all(sample.get(name) is not None for name in ("io.read_bytes", "io.write_bytes", *lanes))
    for name, prefix in SIGNALS.items():
        for signal, value in sample.values.items():
            if signal.startswith(prefix):
                lane = (name, signal.removeprefix(prefix))
                if lane in usage and value > max(RISING * usage[lane], FLOOR_BYTES):
                    rising.add(lane[1])
                usage[lane] = usage[lane] + (value - usage[lane]) * weight if lane in usage else value
    felt = any(usage.get(lane, 0.0) >= BITES * cap for lane, cap in before.caps.items())
    felt = felt or (not before.caps and bool(before.written) and sum(usage.values()) >= FLOOR_BYTES)
    bitten_usec = sample.time_usec if felt else before.bitten_usec
    return replace(before, usage=usage, rising=frozenset(rising), read=whole, bitten_usec=bitten_usec)


def cut(
    before: Yielder, device: str, factor: float, bounds: Mapping[str, tuple[int, float]], now_usec: int
) -> dict[Lane, int]:
    """Return the caps after a cut on `device` by `factor`; those that cannot go down are as they were."""
    caps = dict(before.caps)
    total = before.on(device)
    for lane, used in before.usage.items():
        if lane[1] != device or used < SHARE * total or lane[0] not in bounds:
            continue
        level = min(used, caps.get(lane, math.inf)) * factor
        known = before.good.get(lane)
        if lane not in caps and known is not None and now_usec - known.time_usec < RETURN_USEC:
            level = min(used, known.rate)
        low, high = bounds[lane[0]]
        new = round(max(min(level, high), low))
        if new < caps.get(lane, used):
            caps[lane] = new
    return caps


def raised(before: Yielder, ceilings: Mapping[str, float], ratio: float, now_usec: int) -> dict[Lane, int]:
    """Return the caps after one step up; only those that are felt move: an unused cap tells nothing.

    `ratio` is the load of whoever waits longest to what it may have.
    """
    caps = dict(before.caps)
    for lane, cap in before.caps.items():
        if before.usage.get(lane, 0.0) < BITES * cap:
            continue
        step = min(STEP_UP + LONGER * before.raises, _longest(cap, before.bad.get(lane), now_usec))
        factor = 2.0 if ratio < FAR else 1 + step
        caps[lane] = round(min(cap * factor, ceilings.get(lane[0], math.inf)))
    return caps


def _longest(cap: int, bad: Level | None, now_usec: int) -> float:
    if bad is None or now_usec - bad.time_usec >= FORGET_USEC:
        return LONGEST
    return next(longest for share, longest in NEAR if cap <= share * bad.rate)


def spare(yielder: Yielder) -> bool:
    """Return whether every cap is above what was ever used: then they limit nothing."""
    return all(cap > 1.2 * yielder.free.get(lane, math.inf) for lane, cap in yielder.caps.items())


def value_of(name: str, caps: Mapping[Lane, int], base: Value | None) -> tuple[tuple[str, int], ...]:
    """Return the property's value: what stands without us, and on each capped device the lower of both."""
    found: dict[str, int] = {}
    for entry in base if isinstance(base, tuple) else ():
        if isinstance(entry, tuple) and isinstance(entry[1], int):
            found[str(entry[0])] = entry[1]
    for (lane, device), cap in caps.items():
        if lane == name:
            found[device] = min(cap, found.get(device, cap))
    return tuple(sorted(found.items()))


def bound(values: Mapping[str, Value], name: str, *, least: bool) -> int | None:
    """Return the policy's bound in bytes a second, over all devices: the strictest; None where there is none."""
    entries = values.get(name)
    rates = [entry[1] for entry in entries if isinstance(entry, tuple)] if isinstance(entries, tuple) else []
    whole = [rate for rate in rates if isinstance(rate, int)]
    if not whole:
        return None
    return max(whole) if least else min(whole)
