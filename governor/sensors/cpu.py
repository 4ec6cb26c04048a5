"""CPU time and throttling: cpu.stat (Documentation/admin-guide/cgroup-v2.rst, "CPU Interface Files")."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.kernel.stat import FlatFile, Numbers
from governor.model.values import USEC_PER_SEC
from governor.sensors.source import Source, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = "cpu.stat"

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "cpu.usage": ("usage_usec",),
        "cpu.user": ("user_usec",),
        "cpu.system": ("system_usec",),
        "cpu.throttled": ("throttled_usec",),
        "cpu.burst": ("burst_usec",),
        "cpu.bursts": ("nr_bursts",),
        "cpu.periods": ("nr_periods",),
        "cpu.throttled_ratio": ("nr_periods", "nr_throttled"),
    }
)
_FIELDS: Final = tuple(dict.fromkeys(field for fields in _NEEDS.values() for field in fields))
"""In the order in which derive() takes them."""

SIGNALS: Final = tuple(_NEEDS)


def sources(wanted: frozenset[str]) -> tuple[Source, ...]:
    """Return what has to be read for the `wanted` signals."""
    fields = fields_of(_NEEDS, wanted)
    return (Source(FILE, FlatFile(_FIELDS, fields), derive),) if fields else ()


def derive(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return the signals between two readings of cpu.stat, as in _FIELDS; none without a previous one.

    Without the cpu controller the file has only the times. Whether there is a quota the file does not tell, so periods
    are absent where none ran: there is no quota, or nothing that could use it up.
    """
    if previous is None:
        return {}
    values = _times(previous, current, dt_sec * USEC_PER_SEC)
    bursts, periods, throttled = current[5:]
    old_bursts, old_periods, old_throttled = previous[5:]
    if 0 <= old_bursts <= bursts:
        values["cpu.bursts"] = (bursts - old_bursts) / dt_sec
    if 0 <= old_periods < periods:
        values["cpu.periods"] = (periods - old_periods) / dt_sec
        if 0 <= old_throttled <= throttled:
            values["cpu.throttled_ratio"] = min(1.0, (throttled - old_throttled) / (periods - old_periods))
    return values


def _times(previous: Numbers, current: Numbers, elapsed_usec: float) -> dict[str, float]:
    """Return what is time in the file, in cores. Written out by hand: a loop costs three times as much."""
    usage, user, system, throttled, burst, _, _, _ = current
    old_usage, old_user, old_system, old_throttled, old_burst, _, _, _ = previous
    values = {}
    if 0 <= old_usage <= usage:
        values["cpu.usage"] = (usage - old_usage) / elapsed_usec
    if 0 <= old_user <= user:
        values["cpu.user"] = (user - old_user) / elapsed_usec
    if 0 <= old_system <= system:
        values["cpu.system"] = (system - old_system) / elapsed_usec
    if 0 <= old_throttled <= throttled:
        values["cpu.throttled"] = (throttled - old_throttled) / elapsed_usec
    if 0 <= old_burst <= burst:
        values["cpu.burst"] = (burst - old_burst) / elapsed_usec
    return values
