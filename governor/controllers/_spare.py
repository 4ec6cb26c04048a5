"""What of the host's CPUs batch containers leave and take, and which of the others has to wait for CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from governor.controllers._quota import WEIGHT
from governor.model.values import CPU_WEIGHT_IDLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.model.control import Scene
    from governor.model.signal import Sample

USAGE: Final = "cpu.usage"
RATIO: Final = "cpu.throttled_ratio"
PRESSURE: Final = "pressure.cpu.some"
HOST_USAGE: Final = "host.cpu.usage"
CAPACITY: Final = "host.cpu.capacity"
HOST_PRESSURE: Final = "host.pressure.cpu.some"

OWN_DOING: Final = 0.05
"""Who is throttled in more of its periods than this waits for its own quota."""
LONG_SEC: Final = 5.0
SHORT_SEC: Final = 0.95
"""A second, less what a tick may lack."""


@dataclass(frozen=True, slots=True)
class Load:
    """CPU time in cores: what the host has, what the members of the scene use, what everything else uses."""

    capacity: float
    batch: float
    others: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Who waits for CPU most: `ratio` is the share of the tick in which some task of it did. Inode 0 is the host."""

    inode: int
    name: str
    ratio: float


def load_of(scene: Scene) -> Load | None:
    """Return the load; None where a number is absent: with one member unknown, what the others use is unknown, too."""
    capacity, host = scene.host.get(CAPACITY), scene.host.get(HOST_USAGE)
    batch = _sum((member.sample for member, _ in scene.members.values()), USAGE)
    if capacity is None or host is None or batch is None or capacity <= 0:
        return None
    return Load(capacity=capacity, batch=batch, others=max(0.0, host - batch))


def longest_wait(scene: Scene) -> Wait | None:
    """Return which of the others waits most; None where nobody's pressure is known.

    Not who is throttled by its own quota, nor who is idle by weight: they wait by their own administrator's will. What
    the host waits beyond the sum of all members' waiting is waited by somebody else, container or not.
    """
    waits = [
        Wait(inode, other.name, ratio)
        for inode, other in scene.others.items()
        if (ratio := other.sample.get(PRESSURE)) is not None
        and (other.sample.get(RATIO) or 0.0) <= OWN_DOING
        and other.current.get(WEIGHT) != CPU_WEIGHT_IDLE
    ]
    host, own = scene.host.get(HOST_PRESSURE), _sum((member.sample for member, _ in scene.members.values()), PRESSURE)
    if host is not None and own is not None:
        waits.append(Wait(0, "the host", max(0.0, host - own)))
    return max(waits, key=lambda wait: wait.ratio, default=None)


Used = tuple[tuple[float, float], ...]
"""Lengths in seconds and usages in cores of the last ticks, the newest last."""


def pushed(used: Used, dt_sec: float, cores: float) -> Used:
    """Return `used` with one more tick, without those that began more than 5 s before its end."""
    kept, length = [(dt_sec, cores)], dt_sec
    for tick in reversed(used):
        length += tick[0]
        if length > LONG_SEC + SHORT_SEC:
            break
        kept.append(tick)
    return tuple(reversed(kept))


def recent(used: Used) -> float:
    """Return the higher of the 5 s and the 1 s mean in cores: it rises at once and falls slowly (Meta's sideloader)."""
    short, length = [], 0.0
    for tick in reversed(used):
        short.append(tick)
        length += tick[0]
        if length >= SHORT_SEC:
            break
    return max(_mean(used), _mean(short))


def _mean(ticks: Iterable[tuple[float, float]]) -> float:
    pairs = tuple(ticks)
    return sum(dt * cores for dt, cores in pairs) / sum(dt for dt, _ in pairs)


def _sum(samples: Iterable[Sample], name: str) -> float | None:
    """Return the sum of one signal; None where any of the samples lacks it."""
    total = 0.0
    for sample in samples:
        value = sample.get(name)
        if value is None:
            return None
        total += value
    return total
