"""Processes and threads: pids.current (Documentation/admin-guide/cgroup-v2.rst, "PID Interface Files")."""

from __future__ import annotations

from typing import Final

from governor.kernel.stat import Numbers, number
from governor.sensors.source import Source

FILE: Final = "pids.current"
SIGNALS: Final = ("pids.current",)


def sources(wanted: frozenset[str]) -> tuple[Source, ...]:
    """Return what has to be read for the `wanted` signals."""
    return (Source(FILE, number, derive),) if wanted.intersection(SIGNALS) else ()


def derive(previous: Numbers | None, current: Numbers, dt_sec: float) -> dict[str, float]:
    """Return how many tasks there are, which needs no previous reading."""
    del previous, dt_sec
    return {SIGNALS[0]: current[0]} if current[0] >= 0 else {}
