"""How much longer a protected container waits for IO than it does alone.

PSI's `some` is the share of time in which at least one request is waited for. With independent arrivals that is
1 - exp(-load), load = requests a second * seconds that each takes (M/G/∞: the number under way is Poisson distributed).
So load / rate is the time that one request takes, whatever the rate is now: that is what is compared with its baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from governor.model.signal import Sample

FULL: Final = 0.99
"""Pressure above this tells no more how long the queue is."""
LEARN_SEC: Final = 60.0
"""Time constant of the baseline."""
LEAST_LEARNT_SEC: Final = 5.0
"""A baseline of less is not used."""
ALONE: Final = 1.2
"""How much longer than alone it may wait."""
EASY: Final = 0.8
"""Below this share of what the target allows something is given back; between it and 1 nothing moves."""
EASY_ALONE: Final = 1.12
"""The same where the baseline decides: alone it has 1 / 1.2 of what is allowed, so the band lies above that."""
SIGMAS: Final = 1.5
"""It waits too long only where that is more than what its looks vary by alone: else noise would take cap after cap."""
SHORT: Final = 3
"""So many looks tell of what has only begun."""
LONG: Final = 3
"""Looks are kept for this many windows."""
REMEMBER_USEC: Final = 60 * USEC_PER_SEC
"""How long a device counts as used after the last traffic."""

_BYTES: Final = ("io.read_bytes@", "io.write_bytes@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One tick: the load that the pressure stands for, and requests a second (None where not counted)."""

    time_usec: int
    load: float
    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """What is known of one protected container."""

    looks: tuple[Look, ...] = ()
    devices: tuple[tuple[str, int], ...] = ()
    """Devices that it uses, with the time of the last traffic."""
    alone_load: float = 0.0
    alone_sec: float = 0.0
    """Its load alone, and the time that one request takes alone; 0 = not known."""
    learnt_sec: float = 0.0
    alone_spread: float = 0.0
    """Mean square of what a look alone differs by, relative to the baseline."""

    def uses(self, device: str) -> bool:
        """Return whether it used the device lately."""
        return any(device == name for name, _ in self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """How one protected container fares: `ratio` is its load to the load that it is allowed to have."""

    inode: int
    name: str
    ratio: float
    pressure: float
    allowed: float
    """The pressure that it may have, a ratio."""
    looks: int
    sure: bool
    """Whether it waits longer than is allowed, and that is no chance."""
    easy: bool
    """Whether it is so far below that something can be given back."""
    baseline: bool
    """Whether its own baseline, not the policy's target, is what allows it so much."""

    def words(self) -> str:
        """Return it for a reason."""
        kind = "1.2 x what it has alone" if self.baseline else "the target"
        return f"{self.name} waited for IO {self.pressure:.1%} of the time, allowed {self.allowed:.1%} ({kind})"


def load_of(pressure: float) -> float:
    """Return the mean number of requests under way that a pressure (ratio) stands for."""
    return -math.log1p(-min(max(pressure, 0.0), FULL))


def pressure_of(load: float) -> float:
    """Return the pressure (ratio) of a load: the inverse of load_of()."""
    return 1 - math.exp(-load)


def devices_of(sample: Sample) -> set[str]:
    """Return the devices ("major:minor") with traffic in this tick."""
    return {name.partition("@")[2] for name, value in sample.values.items() if value > 0 and name.startswith(_BYTES)}


def seen(before: Protected, sample: Sample, window_usec: int) -> Protected:
    """Return what is known after one more tick; where the pressure is absent, what was looked at grows old."""
    pressure = sample.get("pressure.io.some")
    now = sample.time_usec
    used = dict(before.devices) | dict.fromkeys(devices_of(sample), now)
    devices = tuple(sorted((name, last) for name, last in used.items() if now - last < REMEMBER_USEC))
    kept = tuple(each for each in before.looks if now - each.time_usec < LONG * window_usec)
    if pressure is None:
        return replace(before, devices=devices, looks=kept)
    look = Look(time_usec=now, load=load_of(pressure), rate=_rate(sample))
    return replace(before, devices=devices, looks=(*kept, look))


def learnt(before: Protected, dt_sec: float) -> Protected:
    """Return it with the last look taken as its baseline: the others are nearly idle."""
    look = before.looks[-1]
    if look.load <= 0 or look.rate == 0:
        return before
    known = before.learnt_sec + dt_sec
    weight = max(dt_sec / known, dt_sec / LEARN_SEC)
    each = look.load / look.rate if look.rate is not None else 0.0
    off = each / before.alone_sec - 1 if each and before.alone_sec else 0.0
    return replace(
        before,
        alone_load=_towards(before.alone_load, look.load, weight),
        alone_sec=_towards(before.alone_sec, each, weight) if each else before.alone_sec,
        learnt_sec=known,
        alone_spread=_towards(before.alone_spread, min(off * off, 1.0), weight),
    )


def strain(protected: Protected, inode: int, name: str, target: float, since_usec: int) -> Strain | None:
    """Return how it fares by the looks after `since_usec`, the last few or all, whichever is worse; None: no looks."""
    looks = [look for look in protected.looks if look.time_usec > since_usec]
    if not looks:
        return None
    parts = (_part(protected, part, target) for part in (looks[-SHORT:], looks))
    load, allowed, alone, chance = max(parts, key=lambda part: part[0] / part[1] - part[3])
    return Strain(
        inode=inode,
        name=name,
        ratio=load / allowed,
        pressure=pressure_of(load),
        allowed=pressure_of(allowed),
        looks=len(looks),
        sure=load > allowed * (1 + chance),
        easy=load < max(EASY * allowed, alone * EASY_ALONE / ALONE),
        baseline=alone >= allowed,
    )


def _part(protected: Protected, looks: list[Look], target: float) -> tuple[float, float, float, float]:
    """Return the mean load of some looks, what is allowed, 1.2 times alone, and what chance may add to their ratio."""
    alone = ALONE * _alone(protected, looks)
    allowed = max(load_of(target), alone)
    chance = SIGMAS * math.sqrt(protected.alone_spread / len(looks)) if alone >= allowed else 0.0
    return sum(look.load for look in looks) / len(looks), allowed, alone, chance


def _alone(protected: Protected, looks: list[Look]) -> float:
    """Return the load that it would have alone at its present rate; 0 where no baseline is known."""
    if protected.learnt_sec < LEAST_LEARNT_SEC:
        return 0.0
    rates = [look.rate for look in looks if look.rate is not None]
    if protected.alone_sec and len(rates) == len(looks):
        return protected.alone_sec * sum(rates) / len(rates)
    return protected.alone_load


def _rate(sample: Sample) -> float | None:
    reads, writes = sample.get("io.reads"), sample.get("io.writes")
    return None if reads is None or writes is None else reads + writes


def _towards(before: float, now: float, weight: float) -> float:
    return before + (now - before) * weight if before else now
