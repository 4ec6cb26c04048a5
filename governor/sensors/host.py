"""The whole host: /proc/stat, /proc/meminfo and /proc/pressure.

Documentation/filesystems/proc.rst and Documentation/accounting/psi.rst.
"""

from __future__ import annotations

import os
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.kernel.psi import parse
from governor.kernel.stat import ABSENT, FlatFile, Numbers
from governor.model.signal import RESOURCES
from governor.sensors import pressure
from governor.sensors.source import Source, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.kernel.psi import Pressure

STAT: Final = "stat"
MEMINFO: Final = "meminfo"

USAGE: Final = "host.cpu.usage"
CAPACITY: Final = "host.cpu.capacity"

_MEMORY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "host.memory.total": "MemTotal:",
        "host.memory.available": "MemAvailable:",
        "host.swap.total": "SwapTotal:",
        "host.swap.free": "SwapFree:",
    }
)
_UNDEFINED: Final = "host.pressure.cpu.full"
"""A host whose every task waits for a CPU cannot be: the kernel writes zeros, for old programs' sake."""

SIGNALS: Final = (
    USAGE,
    CAPACITY,
    *_MEMORY,
    *(name for resource in RESOURCES for name in pressure.names("host.", resource) if not name.startswith(_UNDEFINED)),
)

_BUSY: Final = (1, 2, 3, 6, 7, 8)
"""user, nice, system, irq, softirq and steal: what another guest took is used up as well. Guest time is in user's."""


def sources(wanted: frozenset[str]) -> tuple[Source, ...]:
    """Return what has to be read below /proc for the `wanted` signals."""
    found: list[Source | None] = []
    if wanted & {USAGE, CAPACITY}:
        found.append(Source(STAT, parse_stat, partial(derive_stat, os.sysconf("SC_CLK_TCK"))))
    if fields := fields_of({signal: (field,) for signal, field in _MEMORY.items()}, wanted):
        found.append(Source(MEMINFO, FlatFile(tuple(_MEMORY.values()), fields), derive_memory))
    found += [pressure.source(f"pressure/{resource}", _names(resource), wanted) for resource in ("memory", "io")]
    found.append(pressure.source("pressure/cpu", _names("cpu"), wanted.intersection(SIGNALS), _without_full))
    return tuple(one for one in found if one is not None)


def _names(resource: str) -> tuple[str, ...]:
    return pressure.names("host.", resource)


def _without_full(text: bytes) -> Pressure:
    """Return what /proc/pressure/cpu says but for its zeros in place of full pressure."""
    totals, averages = parse(text)
    return totals[:1], averages[:2]


def parse_stat(text: bytes) -> Numbers:
    """Return the clock ticks that all CPUs were busy, and how many are online: only those have a line."""
    words = text[: text.find(b"\n")].split()
    try:
        busy = sum(int(words[index]) for index in _BUSY) if words[0] == b"cpu" else ABSENT
    except (IndexError, ValueError):
        busy = ABSENT
    return (busy, text.count(b"\ncpu") or ABSENT)


def derive_stat(ticks_per_sec: int, previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return the CPUs and, with a previous reading, how much of them was used, in cores."""
    busy, online = current
    values: dict[str, float] = {CAPACITY: online} if online >= 0 else {}
    if previous is not None and 0 <= previous[0] <= busy:
        values[USAGE] = (busy - previous[0]) / (ticks_per_sec * dt_sec)
    return values


def derive_memory(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return the host's memory in bytes, in the order of _MEMORY, which needs no previous reading."""
    del previous, dt_sec
    return {name: kib * 1024 for name, kib in zip(_MEMORY, current, strict=True) if kib >= 0}
