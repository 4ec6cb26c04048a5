"""The canonical form of a property's value: what the kernel's file says after systemd wrote the value. Pure.

Desired, applied and read-back values are compared in this form only. The arithmetic is systemd's (src/core/cgroup.c)
and the kernel's (Documentation/admin-guide/cgroup-v2.rst, mm/page_counter.c, kernel/cgroup/pids.c,
block/blk-throttle.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.model.directives import BY_PROPERTY, Kind
from governor.model.errors import ActuationError
from governor.model.values import INFINITY, USEC_PER_SEC, Share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.kernel.host import Host
    from governor.model.values import Value

QUOTA = "CPUQuotaPerSecUSec"
PERIOD = "CPUQuotaPeriodUSec"
BURST = "CPUBurstUSec"

DEFAULT_WEIGHT = 100
DEFAULT_PERIOD_USEC = 100_000
MIN_PERIOD_USEC = 1_000
MAX_PERIOD_USEC = USEC_PER_SEC
MIN_QUOTA_USEC = 1_000
"""The kernel refuses a smaller quota in a period (min_cfs_quota_period)."""

PIDS_MAX = 4 * 1024 * 1024 + 1
"""kernel/cgroup/pids.c: a limit this high is refused; only "max" is above it."""

_LONG_MAX = 2**63 - 1
_UINT_MAX = 2**32 - 1
_DEVICES = {Kind.DEVICE_WEIGHT, Kind.DEVICE_BYTES, Kind.DEVICE_COUNT, Kind.DEVICE_TIMESPAN}
_SETS = {Kind.NETWORKS, Kind.SOCKET_BIND, Kind.DEVICE_ALLOW}


def canonical(property_name: str, value: Value, host: Host, *, period_usec: int = INFINITY) -> Value:
    """Return `value` as the kernel will show it; idempotent.

    `period_usec` is the CPUQuotaPeriodUSec beside a CPUQuotaPerSecUSec. Raises ActuationError where the value means
    nothing on this host: a path without a block device, CPUs none of which exists.
    """
    kind = BY_PROPERTY[property_name].kind
    if kind in _DEVICES:
        return _devices(kind, value, host)
    if kind is Kind.CPU_SET:
        return _cpu_set(property_name, value, host)
    if kind in _SETS:
        assert isinstance(value, tuple)
        return tuple(sorted(set(value), key=repr))
    if kind is Kind.INTERFACES:
        assert isinstance(value, tuple)
        allow, names = value
        return (allow, tuple(sorted(set(names)))) if isinstance(names, tuple) else value
    if isinstance(value, (str, bool, tuple)):
        return value
    return _number(property_name, kind, value, host, period_usec)


def canonical_set(values: Mapping[str, Value], host: Host) -> dict[str, Value]:
    """Return `values` in canonical form where they depend on each other: the CPU quota, its period and the burst.

    Raises ActuationError as canonical() does.
    """
    period, quota = values.get(PERIOD, INFINITY), values.get(QUOTA)
    assert isinstance(period, int)
    found = {name: canonical(name, value, host, period_usec=period) for name, value in values.items()}
    if isinstance(quota, int):
        if PERIOD in found:
            found[PERIOD] = period_of(quota, period)
        burst = found.get(BURST)
        if isinstance(burst, int) and quota != INFINITY:
            found[BURST] = min(burst, quota_in_period(quota, period_of(quota, period)))
    return found


def period_of(quota_per_sec_usec: int, period_usec: int) -> int:
    """Return the period in µs that systemd writes (cgroup_cpu_adjust_period): long enough for 1 ms of quota, ≤ 1 s."""
    if quota_per_sec_usec == INFINITY:
        return DEFAULT_PERIOD_USEC
    wanted = DEFAULT_PERIOD_USEC if period_usec == INFINITY else period_usec
    enough = MIN_QUOTA_USEC * USEC_PER_SEC // max(quota_per_sec_usec, 1)
    return min(max(wanted, MIN_PERIOD_USEC, enough), MAX_PERIOD_USEC)


def quota_in_period(quota_per_sec_usec: int, period_usec: int) -> int:
    """Return the quota in µs a period, as written to cpu.max; INFINITY for "max"."""
    if quota_per_sec_usec == INFINITY:
        return INFINITY
    return max(quota_per_sec_usec * period_usec // USEC_PER_SEC, MIN_QUOTA_USEC)


def quota_per_sec(quota_usec: int, period_usec: int) -> int:
    """Return the quota in µs a second of `quota_usec` a period, rounded so that writing it gives the same cpu.max.

    That is up; but down where the quota is the smallest and systemd made the period to fit it.
    """
    if quota_usec == INFINITY:
        return INFINITY
    down = quota_usec * USEC_PER_SEC // period_usec
    if quota_usec == MIN_QUOTA_USEC and MIN_QUOTA_USEC * USEC_PER_SEC // max(down, 1) == period_usec:
        return down
    return -(-quota_usec * USEC_PER_SEC // period_usec)


def bfq_weight(weight: int) -> int:
    """Return systemd's BFQ_WEIGHT (src/basic/cgroup-util.h): 1 to 10000 onto bfq's 1 to 1000, 100 staying 100."""
    if weight <= DEFAULT_WEIGHT:
        return DEFAULT_WEIGHT - (DEFAULT_WEIGHT - weight)
    return DEFAULT_WEIGHT + (weight - DEFAULT_WEIGHT) * 900 // 9900


def weight_of_bfq(bfq: int) -> int:
    """Return the lowest weight for which bfq_weight() is `bfq`."""
    return bfq if bfq <= DEFAULT_WEIGHT else DEFAULT_WEIGHT + (bfq - DEFAULT_WEIGHT) * 11


def _number(property_name: str, kind: Kind, value: int | Share, host: Host, period_usec: int) -> int:
    if kind is Kind.BYTES:
        return _bytes(value.of(host.memory_total_bytes) if isinstance(value, Share) else value, host)
    if kind is Kind.TASKS:
        tasks = max(1, value.of(host.tasks_max)) if isinstance(value, Share) else value
        return INFINITY if tasks >= PIDS_MAX else tasks
    assert isinstance(value, int)
    if kind in {Kind.CPU_WEIGHT, Kind.WEIGHT}:
        weight = DEFAULT_WEIGHT if value == INFINITY else value
        return weight if kind is Kind.CPU_WEIGHT else _io_weight(weight, host)
    return _time(property_name, value, period_usec)


def _time(property_name: str, value: int, period_usec: int) -> int:
    if property_name == QUOTA:
        period = period_of(value, period_usec)
        return quota_per_sec(quota_in_period(value, period), period)
    if property_name == PERIOD:
        return period_of(USEC_PER_SEC, value)
    return value


def _bytes(value: int, host: Host) -> int:
    """Return whole pages, as the kernel counts them, and no more than PAGE_COUNTER_MAX of them."""
    pages = value // host.page_size_bytes
    return INFINITY if pages >= _LONG_MAX // host.page_size_bytes else pages * host.page_size_bytes


def _io_weight(weight: int, host: Host) -> int:
    return weight_of_bfq(bfq_weight(weight)) if host.bfq_only else weight


def _devices(kind: Kind, value: Value, host: Host) -> Value:
    """One entry a disk, sorted; the last wins where several paths mean one disk; what limits nothing is left out."""
    assert isinstance(value, tuple)
    found: dict[str, int] = {}
    for entry in value:
        assert isinstance(entry, tuple)
        path, amount = entry
        assert isinstance(amount, int)
        found[host.block_device(str(path))] = _io_weight(amount, host) if kind is Kind.DEVICE_WEIGHT else amount
    nothing = _UINT_MAX if kind is Kind.DEVICE_COUNT else INFINITY
    return tuple(sorted((device, amount) for device, amount in found.items() if 0 < amount < nothing))


def _cpu_set(property_name: str, value: Value, host: Host) -> Value:
    """Only what exists, as the kernel refuses the whole list for one number too high; () for all there is.

    To the kernel the empty list means "all", but a cgroup with processes in it cannot go back to it (kernel/cgroup/
    cpuset.c, validate_change: ENOSPC): so both stand for the same.
    """
    assert isinstance(value, tuple)
    exists = _existing(property_name, host)
    found = tuple(sorted({number for number in value if isinstance(number, int) and number in exists}))
    if value and not found:
        raise ActuationError(f"{property_name}: this host has none of {', '.join(map(str, value))}")
    return () if found == tuple(sorted(exists)) else found


def writable(property_name: str, value: Value, host: Host) -> Value:
    """Return the canonical `value` as it can be written to a cgroup with processes in it: "all" as a full list."""
    if property_name in ("AllowedCPUs", "AllowedMemoryNodes") and value == ():
        return _existing(property_name, host)
    return value


def _existing(property_name: str, host: Host) -> tuple[int, ...]:
    return host.memory_nodes if "MemoryNodes" in property_name else host.cpus
