"""Signals: every named number that sensors deliver, with unit and help; docs, policies, metrics and the CLI read this.

A signal of one container has a plain name (`cpu.usage`); one of the whole host begins with `host.`. A signal that is
kept by device has, beside the sum under its plain name, one value a device under `name@major:minor`. A value that could
not be read is absent from a sample: never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RESOURCES: Final = ("cpu", "memory", "io")
"""What the kernel keeps pressure of (Documentation/accounting/psi.rst)."""


class Unit(StrEnum):
    """What a signal's number counts. Rates are over the tick, per second of wall time."""

    CORES = "cores"
    """CPU seconds a second."""
    RATIO = "ratio"
    """0 to 1."""
    BYTES = "bytes"
    BYTES_PER_SEC = "bytes/s"
    PER_SEC = "1/s"
    COUNT = "count"
    """How many there are now, or how many came in this tick (the help says which)."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal: its name, its unit, what it means, and whether it is kept by device, too."""

    name: str
    unit: Unit
    help: str
    per_device: bool = False


def _pressure(prefix: str, whose: str) -> tuple[Signal, ...]:
    found = []
    for resource in RESOURCES:
        for share, who in (("some", "at least one task"), ("full", "every task")):
            name, waited = f"{prefix}pressure.{resource}.{share}", f"{who} of {whose} waited for {resource}"
            found += [
                Signal(name, Unit.RATIO, f"Share of this tick in which {waited}"),
                Signal(f"{name}_avg10", Unit.RATIO, f"The kernel's 10 s average: share of time in which {waited}"),
                Signal(f"{name}_avg60", Unit.RATIO, f"The kernel's 60 s average: share of time in which {waited}"),
            ]
    return tuple(found)


CONTAINER_SIGNALS: Final = (
    Signal("cpu.usage", Unit.CORES, "CPU time used (cpu.stat usage_usec)"),
    Signal("cpu.user", Unit.CORES, "CPU time used in user mode"),
    Signal("cpu.system", Unit.CORES, "CPU time used in the kernel"),
    Signal("cpu.periods", Unit.PER_SEC, "Quota periods that ran (nr_periods); absent without a quota"),
    Signal("cpu.throttled_ratio", Unit.RATIO, "Quota periods that were throttled, of those that ran"),
    Signal("cpu.throttled", Unit.CORES, "Time that its CPUs' queues were throttled (throttled_usec)"),
    Signal("cpu.bursts", Unit.PER_SEC, "Quota periods that used saved-up quota (nr_bursts)"),
    Signal("cpu.burst", Unit.CORES, "CPU time taken from saved-up quota (burst_usec)"),
    Signal("memory.current", Unit.BYTES, "Memory in use (memory.current)"),
    Signal("memory.working_set", Unit.BYTES, "Memory in use less the inactive file cache, as cAdvisor has it"),
    Signal("memory.anon", Unit.BYTES, "Anonymous memory"),
    Signal("memory.file", Unit.BYTES, "File cache, with shared memory"),
    Signal("memory.inactive_file", Unit.BYTES, "File cache that was not used lately"),
    Signal("memory.inactive_anon", Unit.BYTES, "Anonymous memory that was not used lately"),
    Signal(
        "memory.unreclaimable",
        Unit.BYTES,
        "Memory that cannot be reclaimed: kernel memory less reclaimable slab, and unevictable",
    ),
    Signal("memory.swap", Unit.BYTES, "Swap in use (memory.swap.current)"),
    Signal("memory.zswap", Unit.BYTES, "Memory that holds compressed swap"),
    Signal("memory.scan", Unit.PER_SEC, "Pages that reclaim looked at (pgscan)"),
    Signal("memory.steal", Unit.PER_SEC, "Pages that reclaim took (pgsteal)"),
    Signal("memory.refault_anon", Unit.PER_SEC, "Pages that were swapped in soon after reclaim took them"),
    Signal("memory.refault_file", Unit.PER_SEC, "File pages that were read again soon after reclaim took them"),
    Signal("memory.activate", Unit.PER_SEC, "Refaulted pages that were found to be in active use"),
    Signal("memory.major_faults", Unit.PER_SEC, "Page faults that had to read (pgmajfault)"),
    Signal("memory.high_events", Unit.COUNT, "Times in this tick that memory.high throttled it"),
    Signal("memory.max_events", Unit.COUNT, "Times in this tick that it ran into memory.max"),
    Signal("memory.oom_events", Unit.COUNT, "Times in this tick that it was out of memory"),
    Signal("memory.oom_kills", Unit.COUNT, "Processes that the OOM killer killed in this tick"),
    Signal("io.read_bytes", Unit.BYTES_PER_SEC, "Bytes read from block devices", per_device=True),
    Signal("io.write_bytes", Unit.BYTES_PER_SEC, "Bytes written to block devices", per_device=True),
    Signal("io.reads", Unit.PER_SEC, "Reads from block devices", per_device=True),
    Signal("io.writes", Unit.PER_SEC, "Writes to block devices", per_device=True),
    Signal(
        "io.wait",
        Unit.RATIO,
        "Time that its IO waited for io.cost; absent where that or its statistics are off",
        per_device=True,
    ),
    Signal("pids.current", Unit.COUNT, "Processes and threads that exist"),
    *_pressure("", "the container"),
)

HOST_SIGNALS: Final = (
    Signal("host.cpu.usage", Unit.CORES, "CPU time used by everything"),
    Signal("host.cpu.capacity", Unit.CORES, "CPUs that are online"),
    Signal("host.memory.total", Unit.BYTES, "Memory of the host (MemTotal)"),
    Signal("host.memory.available", Unit.BYTES, "Memory that can be had without swapping (MemAvailable)"),
    Signal("host.swap.total", Unit.BYTES, "Swap of the host"),
    Signal("host.swap.free", Unit.BYTES, "Swap that is free"),
    *_pressure("host.", "the host"),
)

SIGNALS: Final[Mapping[str, Signal]] = MappingProxyType({s.name: s for s in (*CONTAINER_SIGNALS, *HOST_SIGNALS)})
"""Every signal by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was read of one container, or of the host, in one tick. `time_usec` is CLOCK_MONOTONIC."""

    time_usec: int
    values: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, name: str) -> float | None:
        """Return the value of a signal, None where it is absent."""
        return self.values.get(name)


def signal_of(key: str) -> Signal | None:
    """Return the signal that `key` (a name, or name@device) is a value of, None where there is none."""
    name, _, device = key.partition("@")
    found = SIGNALS.get(name)
    return found if found is not None and (not device or found.per_device) else None
