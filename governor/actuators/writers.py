"""How a value reaches the kernel: through the unit's manager, or, where there is no unit or no property, by file.

Both ends of a writer speak canonical values (governor/kernel/limits.py), so that what is read back compares equal with
what was asked for.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from governor.kernel import attached, limits
from governor.model.directives import BY_PROPERTY, FREEZE
from governor.model.errors import Unsupported
from governor.model.lease import TargetKind
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import Cgroup
    from governor.model.lease import Target
    from governor.model.values import Value

_log = logging.getLogger(__name__)

IO_MAX = ("IOReadBandwidthMax", "IOWriteBandwidthMax", "IOReadIOPSMax", "IOWriteIOPSMax")
"""The four fields of one line in io.max: systemd writes all of them when one changes."""

FILE_ONLY = ("CPUBurstUSec", FREEZE)
"""What systemd has no property for: written as a file beside the unit."""

_UNSET_DIFFERS = ("CPUWeight", "IOWeight", "StartupCPUWeight", "StartupIOWeight", "CPUQuotaPeriodUSec")
"""Properties whose "unset" reads as a plain number in the kernel, so that only the bus tells them apart."""

_READ_BACK_PAUSES_SEC = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""systemd answers before it has written: it realizes cgroups from a queue. 3.2 s in all."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where values go: what the ledger calls it, and its cgroup held open. Raises nothing; the cgroup may be gone."""

    target: Target
    cgroup: Cgroup


class Writer(Protocol):
    """One way to write. Every method raises Gone and ActuationError, and nothing else."""

    async def read(self, site: Site, properties: Iterable[str]) -> dict[str, Value]:
        """Return the canonical current value of each of `properties` that can be told."""

    async def originals(self, site: Site, current: Mapping[str, Value]) -> dict[str, Value]:
        """Return, for each property in `current`, what has to be written to get that value back."""

    async def believed(self, site: Site, properties: Iterable[str]) -> dict[str, Value]:
        """Return the canonical value that the unit's manager believes each of `properties` to have."""

    async def unenforced(self, site: Site, values: Mapping[str, Value]) -> frozenset[str]:
        """Return those of `values` that the manager holds and the kernel does not enforce."""

    async def tidy(self, site: Site, values: Mapping[str, Value]) -> None:
        """Take away what the manager leaves behind in the kernel when `values` are written."""

    async def write(self, site: Site, values: Mapping[str, Value]) -> None:
        """Write `values` in one call."""


class FileWriter:
    """Writes the cgroup's own files: for cgroups without a unit and for cpu.max.burst, which has no property."""

    def __init__(self, host: limits.Host) -> None:
        self._host = host

    async def read(self, site: Site, properties: Iterable[str]) -> dict[str, Value]:
        """Return what the files say; a property whose controller is off here is left out."""
        return limits.read_limits(site.cgroup, self._host, tuple(properties))

    async def originals(self, site: Site, current: Mapping[str, Value]) -> dict[str, Value]:
        """Return `current`: a file takes what it shows."""
        del site
        return dict(current)

    async def believed(self, site: Site, properties: Iterable[str]) -> dict[str, Value]:
        """Return nothing: no manager has a part in these files."""
        del site, properties
        return {}

    async def unenforced(self, site: Site, values: Mapping[str, Value]) -> frozenset[str]:
        """Return nothing: what the files say is what the kernel does."""
        del site, values
        return frozenset()

    async def tidy(self, site: Site, values: Mapping[str, Value]) -> None:
        """Do nothing: a file leaves nothing behind."""

    async def write(self, site: Site, values: Mapping[str, Value]) -> None:
        """Write the files in a worker thread: memory.high and memory.max may block while the kernel reclaims."""
        await asyncio.to_thread(self._write, site.cgroup.duplicate(), values)

    def _write(self, mine: Cgroup, values: Mapping[str, Value]) -> None:
        with mine as cgroup:
            before = limits.read_limits(cgroup, self._host)
            for name, value in sorted(values.items(), key=lambda item: _burst_last(item, before)):
                # read anew each time: what fits depends on what has just been written
                current = limits.read_limits(cgroup, self._host)
                for file, text in limits.format_write(
                    name, limits.writable(name, value, self._host), current, bfq=self._host.bfq_only
                ):
                    cgroup.write(file, text)


def _burst_last(item: tuple[str, Value], current: Mapping[str, Value]) -> int:
    """Order a burst that shrinks before the quota and one that grows after it: it may never exceed the quota."""
    name, value = item
    if name != "CPUBurstUSec":
        return 1
    before = current.get(name)
    return 0 if isinstance(value, int) and isinstance(before, int) and value < before else 2


class UnitWriter:
    """Writes a unit's properties with SetUnitProperties, one call a unit. Made anew for each round."""

    def __init__(self, systemd: Systemd, host: limits.Host) -> None:
        self._systemd = systemd
        self._host = host
        self._newest_link = 0

    async def read(self, site: Site, properties: Iterable[str]) -> dict[str, Value]:
        """Return the kernel's values, and the bus's where the kernel has no file that would tell."""
        wanted = tuple(properties)
        found = limits.read_limits(site.cgroup, self._host, wanted)
        missing = [name for name in wanted if name not in found]
        if missing:
            found |= await self.believed(site, missing)
        return found

    async def believed(self, site: Site, properties: Iterable[str]) -> dict[str, Value]:
        """Return what the unit's properties say, in canonical form."""
        return self._canonical(await self._systemd.get_limits(site.target.unit, properties))

    async def originals(self, site: Site, current: Mapping[str, Value]) -> dict[str, Value]:
        """Return the bus's own value where it means the same as the kernel's, else the kernel's.

        Where the two differ the runtime wrote past systemd; then only the explicit kernel value brings it back.
        """
        asked = [name for name in current if name in _UNSET_DIFFERS]
        known = await self._systemd.get_limits(site.target.unit, asked) if asked else {}
        same = {name: value for name, value in known.items() if self._canonical({name: value})[name] == current[name]}
        return {**current, **same}

    async def unenforced(self, site: Site, values: Mapping[str, Value]) -> frozenset[str]:
        """Return those of `values` whose BPF programs are not attached as systemd holds them."""
        asked = attached.PROPERTIES.intersection(values)
        if not asked:
            return asked
        held = await self.believed(site, attached.PROPERTIES)
        return attached.unenforced(site.cgroup, held, self._newest_link) & asked

    async def tidy(self, site: Site, values: Mapping[str, Value]) -> None:
        """Drop what systemd has forgotten in the kernel when `values` were written."""
        asked = attached.PROPERTIES.intersection(values)
        held = await self.believed(site, attached.PROPERTIES) if asked else {}
        try:
            attached.drop_forgotten(site.cgroup, held)
        except Unsupported as error:
            _log.debug("%s: %s", site.cgroup.path, error)

    async def write(self, site: Site, values: Mapping[str, Value]) -> None:
        """Set `values`, together with all that systemd would otherwise reset to what it believes."""
        companions = {} if site.target.kind is TargetKind.PERSISTENT_UNIT else self._companions(site, values)
        if attached.PROPERTIES.intersection(values):
            self._newest_link = attached.newest_link(site.cgroup)
        await self._systemd.set_unit_properties(
            site.target.unit, {**companions, **for_bus(values, self._host)}, runtime=True
        )

    def _companions(self, site: Site, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return what the kernel holds beside `values` that is not its default.

        Any real change makes systemd write every controller file of the unit from its own memory; what the runtime
        wrote past it (runc: memory.swap.max) would be lost. A value equal to the kernel's changes nothing.
        """
        held = limits.read_limits(site.cgroup, self._host)
        keep = {name: value for name, value in held.items() if name not in values and not _is_default(name, value)}
        for name in FILE_ONLY:
            keep.pop(name, None)
        if keep.get("CPUQuotaPerSecUSec") is None and "CPUQuotaPerSecUSec" not in values:
            keep.pop("CPUQuotaPeriodUSec", None)
        return for_bus(keep, self._host)

    def _canonical(self, values: Mapping[str, Value]) -> dict[str, Value]:
        return {name: limits.canonical(name, value, self._host) for name, value in values.items()}


def _is_default(name: str, value: Value) -> bool:
    """Return whether `value` is what the kernel gives a new cgroup."""
    if name in ("CPUWeight", "IOWeight"):
        return value == limits.DEFAULT_WEIGHT
    if name == "CPUQuotaPeriodUSec":
        return value == limits.DEFAULT_PERIOD_USEC
    if name in ("MemoryMin", "MemoryLow"):
        return value == 0
    return value in (INFINITY, ())


def for_bus(values: Mapping[str, Value], host: limits.Host) -> dict[str, Value]:
    """Return canonical `values` as systemd takes them: devices' numbers as paths, "all CPUs" as a list."""
    return {
        name: _device_paths(value) if _names_devices(name) else limits.writable(name, value, host)
        for name, value in values.items()
    }


def _names_devices(name: str) -> bool:
    """Return whether the property is a list of (block device, number); others are tuples of tuples too."""
    return name in BY_PROPERTY and BY_PROPERTY[name].signature == "a(st)"


def _device_paths(value: Value) -> Value:
    assert isinstance(value, tuple)
    return tuple(
        (f"/dev/block/{item[0]}", *item[1:]) if isinstance(item, tuple) and _is_number(item[0]) else item
        for item in value
    )


def _is_number(device: object) -> bool:
    major, _, minor = str(device).partition(":")
    return major.isdigit() and minor.isdigit()


async def read_back(writer: Writer, site: Site, expected: Mapping[str, Value]) -> frozenset[str]:
    """Return which of `expected` the kernel has made true, waiting until all are or 3 s have passed. Raises Gone."""
    arrived = await _arrived(writer, site, expected)
    for pause in _READ_BACK_PAUSES_SEC:
        if len(arrived) == len(expected):
            break
        await asyncio.sleep(pause)
        arrived = await _arrived(writer, site, expected)
    return arrived


async def _arrived(writer: Writer, site: Site, expected: Mapping[str, Value]) -> frozenset[str]:
    found = await writer.read(site, expected)
    held = {name: value for name, value in expected.items() if found.get(name) == value}
    await writer.tidy(site, expected)
    return frozenset(held) - await writer.unenforced(site, held)
