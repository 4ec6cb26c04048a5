"""Block IO by device and in all: io.stat (Documentation/admin-guide/cgroup-v2.rst, "IO Interface Files")."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from governor.kernel.stat import ABSENT
from governor.model.values import USEC_PER_SEC
from governor.sensors.source import Source, rise

FILE: Final = "io.stat"
WAIT: Final = "io.wait"
RATES: Final = ("io.read_bytes", "io.write_bytes", "io.reads", "io.writes")
SIGNALS: Final = (*RATES, WAIT)

Four = tuple[int, int, int, int]
"""Bytes read and written, reads and writes: in the order of RATES."""
Counters = tuple[dict[bytes, Four], dict[bytes, int]]
"""By major:minor: what was counted, and the µs that IO waited where the kernel keeps them."""

_KEYS: Final = [b"rbytes", b"wbytes", b"rios", b"wios"]
_COST_WAIT: Final = b"cost.wait="
_UNTOUCHED: Final[Four] = (0, 0, 0, 0)
"""The kernel shows a device from a cgroup's first IO on, so that one that was not there has counted from nothing."""


def sources(wanted: frozenset[str]) -> tuple[Source, ...]:
    """Return what has to be read for the `wanted` signals."""
    return (Source(FILE, parse, derive),) if wanted.intersection(SIGNALS) else ()


def parse(text: bytes) -> Counters:
    """Return the counters of each device; a device without IO, and lines that are not understood, are left out."""
    devices: dict[bytes, Four] = {}
    waits: dict[bytes, int] = {}
    for line in text.splitlines():
        words = line.replace(b"=", b" ", 4).split(None, 9)
        if words[1:9:2] == _KEYS:
            try:
                devices[words[0]] = (int(words[2]), int(words[4]), int(words[6]), int(words[8]))
                if _COST_WAIT in line:
                    waits[words[0]] = int(line.partition(_COST_WAIT)[2].split()[0])
            except (ValueError, IndexError):
                continue
    return devices, waits


def derive(previous: Counters | None, current: Counters, dt_sec: float) -> dict[str, float]:
    """Return each signal by device and as a sum; none without a previous reading.

    A device of which a counter went backwards was made anew: its rates are absent, and the sums with them, since what
    these would leave out is not known.
    """
    if previous is None:
        return {}
    values: dict[str, float] = {}
    total, whole = _UNTOUCHED, True
    for device, counters in current[0].items():
        risen = _rises(previous[0].get(device, _UNTOUCHED), counters)
        if risen is None:
            whole = False
        else:
            total = _added(total, risen)
            _put(values, _names(device), risen, dt_sec)
    if whole:
        _put(values, SIGNALS, total, dt_sec)
    if current[1]:
        values.update(_waits(previous[1], current[1], dt_sec))
    return values


# Written out by hand: loops over the four numbers cost three times as much.


def _rises(before: Four, now: Four) -> Four | None:
    """Return how much each counter rose; None where one went backwards."""
    rbytes, wbytes, reads, writes = now
    old_rbytes, old_wbytes, old_reads, old_writes = before
    if rbytes < old_rbytes or wbytes < old_wbytes or reads < old_reads or writes < old_writes:
        return None
    return (rbytes - old_rbytes, wbytes - old_wbytes, reads - old_reads, writes - old_writes)


def _added(one: Four, other: Four) -> Four:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def _put(values: dict[str, float], names: tuple[str, ...], risen: Four, dt_sec: float) -> None:
    """Put the rates of `risen` into `values` under `names`."""
    values[names[0]] = risen[0] / dt_sec
    values[names[1]] = risen[1] / dt_sec
    values[names[2]] = risen[2] / dt_sec
    values[names[3]] = risen[3] / dt_sec


def _waits(previous: dict[bytes, int], current: dict[bytes, int], dt_sec: float) -> dict[str, float]:
    """Return the share of time that IO waited for io.cost, at most 1: several devices may wait at once.

    Absent where nothing was kept before: io.cost, or blk_cgroup's debug statistics, were just switched on.
    """
    waited = {device: rise(previous.get(device, ABSENT), usec) for device, usec in current.items()}
    values = {_names(device)[-1]: _share(usec, dt_sec) for device, usec in waited.items() if usec != ABSENT}
    if ABSENT not in waited.values():
        values[WAIT] = _share(sum(waited.values()), dt_sec)
    return values


def _share(usec: int, dt_sec: float) -> float:
    return min(1.0, usec / (dt_sec * USEC_PER_SEC))


@lru_cache(maxsize=1024)
def _names(device: bytes) -> tuple[str, ...]:
    """Return the names of a device's signals, in the order of SIGNALS."""
    return tuple(f"{signal}@{device.decode('ascii', 'replace')}" for signal in SIGNALS)
