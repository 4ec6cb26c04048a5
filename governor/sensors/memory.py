"""Memory: how much, of which kind, how hard reclaim works, and what memory.events counted.

Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files". Reading memory.stat makes the kernel add up what its
CPUs have counted, so that it is read only where a signal needs it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.kernel.stat import FlatFile, Numbers, number
from governor.sensors.source import Source, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

CURRENT: Final = "memory.current"
SWAP: Final = "memory.swap.current"
STAT: Final = "memory.stat"
EVENTS: Final = "memory.events"

WORKING_SET: Final = "memory.working_set"

_STAT_NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "memory.anon": ("anon",),
        "memory.file": ("file",),
        "memory.inactive_file": ("inactive_file",),
        "memory.inactive_anon": ("inactive_anon",),
        "memory.zswap": ("zswap",),
        "memory.unreclaimable": ("kernel", "slab_reclaimable", "unevictable"),
        "memory.scan": ("pgscan",),
        "memory.steal": ("pgsteal",),
        "memory.refault_anon": ("workingset_refault_anon",),
        "memory.refault_file": ("workingset_refault_file",),
        "memory.major_faults": ("pgmajfault",),
        "memory.activate": ("workingset_activate_anon", "workingset_activate_file"),
        WORKING_SET: ("inactive_file",),
    }
)
_EVENT_NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "memory.high_events": ("high",),
        "memory.max_events": ("max",),
        "memory.oom_events": ("oom",),
        "memory.oom_kills": ("oom_kill",),
    }
)
_FIELDS: Final = tuple(dict.fromkeys(field for fields in _STAT_NEEDS.values() for field in fields))
_EVENTS: Final = tuple(field for fields in _EVENT_NEEDS.values() for field in fields)
"""Both in the order in which derive_stat() and derive_events() take them."""

SIGNALS: Final = (CURRENT, "memory.swap", *_STAT_NEEDS, *_EVENT_NEEDS)


def sources(wanted: frozenset[str]) -> tuple[Source, ...]:
    """Return what has to be read for the `wanted` signals."""
    found = []
    if wanted & {CURRENT, WORKING_SET}:
        found.append(Source(CURRENT, number, derive_current))
    if "memory.swap" in wanted:
        found.append(Source(SWAP, number, derive_swap))
    if fields := fields_of(_STAT_NEEDS, wanted):
        found.append(Source(STAT, FlatFile(_FIELDS, fields), derive_stat))
    if fields := fields_of(_EVENT_NEEDS, wanted):
        found.append(Source(EVENTS, FlatFile(_EVENTS, fields), derive_events))
    return tuple(found)


def add_working_set(values: dict[str, float]) -> None:
    """Add the working set, which comes of two files, where both were read."""
    current, inactive = values.get(CURRENT), values.get("memory.inactive_file")
    if current is not None and inactive is not None:
        values[WORKING_SET] = max(0, current - inactive)  # the files are of two moments


def derive_current(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return memory.current in bytes, which needs no previous reading."""
    del previous, dt_sec
    return {CURRENT: current[0]} if current[0] >= 0 else {}


def derive_swap(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return the swap in use in bytes, which needs no previous reading."""
    del previous, dt_sec
    return {"memory.swap": current[0]} if current[0] >= 0 else {}


def derive_stat(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return what memory.stat says, its numbers as in _FIELDS: bytes and, with a previous reading, events a second."""
    values = _gauges(current)
    if previous is not None:
        _add_rates(values, previous, current, dt_sec)
    return values


def derive_events(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return how often each event of memory.events, as in _EVENTS, came since the previous reading."""
    del dt_sec
    values: dict[str, float] = {}
    if previous is None:
        return values
    high, most, oom, kills = current
    old_high, old_most, old_oom, old_kills = previous
    if 0 <= old_high <= high:
        values["memory.high_events"] = high - old_high
    if 0 <= old_most <= most:
        values["memory.max_events"] = most - old_most
    if 0 <= old_oom <= oom:
        values["memory.oom_events"] = oom - old_oom
    if 0 <= old_kills <= kills:
        values["memory.oom_kills"] = kills - old_kills
    return values


# Written out by hand: with loops over the names these cost three times as much.


def _gauges(current: Numbers) -> dict[str, float]:
    """Return what is bytes in memory.stat."""
    anon, file, inactive_file, inactive_anon, zswap, kernel, reclaimable, unevictable = current[:8]
    values: dict[str, float] = {}
    if anon >= 0:
        values["memory.anon"] = anon
    if file >= 0:
        values["memory.file"] = file
    if inactive_file >= 0:
        values["memory.inactive_file"] = inactive_file
    if inactive_anon >= 0:
        values["memory.inactive_anon"] = inactive_anon
    if zswap >= 0:
        values["memory.zswap"] = zswap
    if kernel >= 0 and reclaimable >= 0 and unevictable >= 0:  # `kernel` came with Linux 5.18
        values["memory.unreclaimable"] = max(0, kernel - reclaimable) + unevictable
    return values


def _add_rates(values: dict[str, float], previous: Numbers, current: Numbers, dt_sec: float) -> None:
    """Add what memory.stat counts, a second."""
    scan, steal, refault_anon, refault_file, faults, active_anon, active_file = current[8:]
    old_scan, old_steal, old_refault_anon, old_refault_file, old_faults, old_anon, old_file = previous[8:]
    if 0 <= old_scan <= scan:
        values["memory.scan"] = (scan - old_scan) / dt_sec
    if 0 <= old_steal <= steal:
        values["memory.steal"] = (steal - old_steal) / dt_sec
    if 0 <= old_refault_anon <= refault_anon:
        values["memory.refault_anon"] = (refault_anon - old_refault_anon) / dt_sec
    if 0 <= old_refault_file <= refault_file:
        values["memory.refault_file"] = (refault_file - old_refault_file) / dt_sec
    if 0 <= old_faults <= faults:
        values["memory.major_faults"] = (faults - old_faults) / dt_sec
    if 0 <= old_anon <= active_anon and 0 <= old_file <= active_file:
        values["memory.activate"] = (active_anon - old_anon + active_file - old_file) / dt_sec
