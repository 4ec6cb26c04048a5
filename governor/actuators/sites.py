"""Which sites a container's limits go to, and what each of them shall hold.

A container with a unit of its own is written through that unit. cpu.max.burst has no property, a container without a
unit has nothing else, and a runtime that nests a cgroup (crun's `container`) sets limits there too: those are files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.actuators.apply import Want
from governor.kernel import limits
from governor.model.lease import Target, TargetKind
from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.actuators.ledger import Entry
    from governor.model.container import Container
    from governor.model.policy import Setting
    from governor.model.values import Value

BURST = "CPUBurstUSec"
QUOTA = "CPUQuotaPerSecUSec"
PERIOD = "CPUQuotaPeriodUSec"

CAPS = (QUOTA, "MemoryHigh", "MemoryMax", "MemorySwapMax", "TasksMax")
"""Where a nested cgroup may hold a smaller value, which then is the one in force."""

_DEVICE_LISTS = (
    "IODeviceWeight",
    "IOReadBandwidthMax",
    "IOWriteBandwidthMax",
    "IOReadIOPSMax",
    "IOWriteIOPSMax",
    "IODeviceLatencyTargetUSec",
)


def unit_target(container: Container) -> Target | None:
    """Return the target that is the container's own unit, or None where it has none."""
    if not container.unit:
        return None
    return Target(
        kind=TargetKind.TRANSIENT_UNIT if container.transient else TargetKind.PERSISTENT_UNIT,
        unit=container.unit,
        invocation=container.invocation,
        cgroup=container.cgroup,
        inode=container.inode,
        user=container.user,
    )


def file_target(cgroup: str, inode: int) -> Target:
    """Return the target that is one cgroup's own files."""
    return Target(kind=TargetKind.FILE, cgroup=cgroup, inode=inode)


def canonical_wants(settings: Mapping[str, Setting], entry: Entry, host: limits.Host) -> dict[str, Want]:
    """Return the wants for `settings` in canonical form.

    A list of devices is laid over the original one: a limit on one device says nothing about the others.
    """
    wants = {}
    values = limits.canonical_set({name: setting.value for name, setting in settings.items()}, host)
    for name, setting in settings.items():
        value = values[name]
        lease = entry.leases.get(name)
        if name in _DEVICE_LISTS and lease is not None:
            value = overlay(lease.original, value)
        wants[name] = Want(value=value, setting=setting)
    return wants


def overlay(below: Value, above: Value) -> Value:
    """Return the device list `above` with the devices that only `below` names, sorted by device."""
    assert isinstance(below, tuple)
    assert isinstance(above, tuple)
    merged = {item[0]: item for item in (*below, *above) if isinstance(item, tuple)}
    return tuple(merged[device] for device in sorted(merged, key=str))


def burst_want(settings: Mapping[str, Setting], current: Value | None, entry: Entry) -> Want | None:
    """Return what cpu.max.burst shall be, or None where its original will do.

    The kernel takes no burst above the quota, and systemd only logs that its cpu.max was refused. So a burst that the
    container came with is lowered, under a lease, to a quota that a policy sets.
    """
    if current is None:
        return None
    lease = entry.leases.get(BURST)
    asked = settings.get(BURST)
    value = asked.value if asked else (lease.original if lease else current)
    quota = settings.get(QUOTA)
    if quota is None or not isinstance(value, int):
        return Want(value=value, setting=asked) if asked else None
    fitting = min(value, _quota_per_period(settings))
    if asked is None and fitting == value:
        return None
    return Want(value=fitting, setting=asked or replace(quota, reason=f"{quota.reason}; a burst must fit its quota"))


def _quota_per_period(settings: Mapping[str, Setting]) -> int:
    quota = settings[QUOTA].value
    period = settings[PERIOD].value if PERIOD in settings else limits.DEFAULT_PERIOD_USEC
    if not isinstance(quota, int) or not isinstance(period, int) or quota == INFINITY:
        return INFINITY
    return quota * min(period, USEC_PER_SEC) // USEC_PER_SEC


def payload_wants(wants: Mapping[str, Want], nested: Mapping[str, Value], entry: Entry) -> dict[str, Want]:
    """Return what a nested cgroup must be raised to: the effective limit is the minimum along the path."""
    return {
        name: want
        for name, want in wants.items()
        if name in CAPS and name in nested and (name in entry.leases or _below(nested[name], want.value))
    }


def _below(value: Value, limit: Value) -> bool:
    return isinstance(value, int) and isinstance(limit, int) and value < limit
