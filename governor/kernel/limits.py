"""Limits in the kernel's own files: which file holds which property, and both ways between text and value.

Formats: Documentation/admin-guide/cgroup-v2.rst (cpu.max, io.max, io.latency, cpuset.cpus …) and, for io.bfq.weight,
Documentation/block/bfq-iosched.rst. Values are in canonical form (governor/kernel/canonical.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.kernel.canonical import (
    BURST,
    DEFAULT_PERIOD_USEC,
    DEFAULT_WEIGHT,
    PERIOD,
    QUOTA,
    bfq_weight,
    canonical,
    canonical_set,
    period_of,
    quota_in_period,
    quota_per_sec,
    weight_of_bfq,
    writable,
)
from governor.kernel.host import Host, format_list, parse_list
from governor.model.directives import FREEZE
from governor.model.errors import Unsupported
from governor.model.values import CPU_WEIGHT_IDLE, INFINITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.kernel.cgroup import Cgroup
    from governor.model.values import Value

__all__ = [
    "DEFAULT_PERIOD_USEC",
    "DEFAULT_WEIGHT",
    "FILES",
    "Host",
    "canonical",
    "canonical_set",
    "format_write",
    "parse",
    "read_limits",
    "writable",
]

FILES: Mapping[str, str] = {
    "CPUWeight": "cpu.weight",
    QUOTA: "cpu.max",
    PERIOD: "cpu.max",
    BURST: "cpu.max.burst",
    "AllowedCPUs": "cpuset.cpus",
    "AllowedMemoryNodes": "cpuset.mems",
    "MemoryMin": "memory.min",
    "MemoryLow": "memory.low",
    "MemoryHigh": "memory.high",
    "MemoryMax": "memory.max",
    "MemorySwapMax": "memory.swap.max",
    "MemoryZSwapMax": "memory.zswap.max",
    "TasksMax": "pids.max",
    "IOWeight": "io.weight",
    "IODeviceWeight": "io.weight",
    "IOReadBandwidthMax": "io.max",
    "IOWriteBandwidthMax": "io.max",
    "IOReadIOPSMax": "io.max",
    "IOWriteIOPSMax": "io.max",
    "IODeviceLatencyTargetUSec": "io.latency",
    FREEZE: "cgroup.freeze",
}
"""Property → the file that holds it. Properties that are not here have no file: BPF, systemd-oomd, Startup*."""

CPU_SETS = ("AllowedCPUs", "AllowedMemoryNodes")

LEAST_WEIGHT = 1

BFQ_FILE = "io.bfq.weight"
"""Holds the weights where the kernel has bfq but not io.cost; systemd writes both."""

_IO_MAX_KEYS = {
    "IOReadBandwidthMax": "rbps",
    "IOWriteBandwidthMax": "wbps",
    "IOReadIOPSMax": "riops",
    "IOWriteIOPSMax": "wiops",
}


def read_limits(cgroup: Cgroup, host: Host, properties: Iterable[str] | None = None) -> dict[str, Value]:
    """Return the canonical value of each of `properties` (None: of all) that has a file in `cgroup`. Raises Gone.

    A property is left out where its controller is off or the kernel says something that we do not understand.
    """
    texts: dict[str, str | None] = {}
    found = {}
    for name in FILES if properties is None else properties:
        if name in FILES and (value := _read(cgroup, name, texts)) is not None:
            found[name] = canonical(name, value, host) if name in CPU_SETS else value
    return found


def parse(property_name: str, text: str) -> Value | None:
    """Return the canonical value of `property_name` in the `text` of its file; None where that is not understood."""
    try:
        return _parse(property_name, text)
    except (ValueError, IndexError, ZeroDivisionError):
        return None


def format_write(
    property_name: str, value: Value, current: Mapping[str, Value], *, bfq: bool = False
) -> list[tuple[str, str]]:
    """Return the (file, text) writes, in order, that make the canonical `value` true.

    `current` is what read_limits() told just now: cpu.max holds two properties, a burst above the quota is refused,
    and a device that is no longer limited has to be named. `bfq` is Host.bfq_only. Raises Unsupported where no file
    holds the property.
    """
    if property_name not in FILES:
        raise Unsupported(f"{property_name} is kept by systemd, not in a file of the cgroup")
    if property_name in (QUOTA, PERIOD, BURST):
        return _format_cpu(property_name, value, current)
    if isinstance(value, tuple):
        if property_name in CPU_SETS:
            numbers = tuple(number for number in value if isinstance(number, int))
            return [(FILES[property_name], f"{format_list(numbers)}\n")]
        return _format_devices(property_name, value, current, bfq=bfq)
    if property_name == "CPUWeight":
        return _format_cpu_weight(value, current)
    if property_name == "IOWeight":
        assert isinstance(value, int)
        return [(BFQ_FILE, str(bfq_weight(value))) if bfq else ("io.weight", f"default {value}")]
    text = "max" if value == INFINITY else str(int(value) if isinstance(value, bool) else value)
    return [(FILES[property_name], text)]


def _read(cgroup: Cgroup, name: str, texts: dict[str, str | None]) -> Value | None:
    """Return one property, reading each file only once."""
    file = FILES[name]
    if file not in texts:
        texts[file] = cgroup.read(file)
        if texts[file] is None and file == "io.weight":
            texts[file] = _from_bfq(cgroup.read(BFQ_FILE))
    text = texts[file]
    value = None if text is None else parse(name, text)
    return CPU_WEIGHT_IDLE if name == "CPUWeight" and value == LEAST_WEIGHT and _idle(cgroup) else value


def _idle(cgroup: Cgroup) -> bool:
    """Return whether a cgroup is idle by cpu.idle: its cpu.weight is 0 then, but 1 from Linux 6.12 on."""
    return (cgroup.read("cpu.idle") or "").strip() == "1"


def _from_bfq(text: str | None) -> str | None:
    """Return io.bfq.weight rewritten as io.weight would say it."""
    lines = []
    for line in (text or "").splitlines():
        device, _, weight = line.rpartition(" ")
        if weight.isdigit():
            lines.append(f"{device or 'default'} {weight_of_bfq(int(weight))}")
    return "\n".join(lines) or None


def _parse(name: str, text: str) -> Value | None:
    file = FILES[name]
    if file == "cpu.max":
        quota, period = (_number(word) for word in text.split())
        return period if name == PERIOD else quota_per_sec(quota, period)
    if file in ("cpuset.cpus", "cpuset.mems"):
        return parse_list(text)
    if file == "cgroup.freeze":
        return bool(int(text))
    if file == "io.weight":
        return _parse_io_weight(name, text)
    if file in ("io.max", "io.latency"):
        return _parse_keyed(text, _IO_MAX_KEYS.get(name, "target"))
    return _number(text)


def _number(word: str) -> int:
    return INFINITY if word.strip() == "max" else int(word)


def _parse_io_weight(name: str, text: str) -> Value | None:
    weights = {device: int(weight) for device, weight in (line.split() for line in text.splitlines())}
    default = weights.pop("default", None)
    return default if name == "IOWeight" else tuple(sorted(weights.items()))


def _parse_keyed(text: str, key: str) -> Value:
    """Return ((device, number), …) of the lines "8:0 key=number key=max" that limit `key`."""
    found = []
    for line in text.splitlines():
        device, *pairs = line.split()
        amount = _number(dict(pair.split("=", 1) for pair in pairs).get(key, "max"))
        if amount != INFINITY:
            found.append((device, amount))
    return tuple(sorted(found))


def _format_cpu(name: str, value: Value, current: Mapping[str, Value]) -> list[tuple[str, str]]:
    """Return the writes, the burst first where it has to go down: a burst above the quota is refused either way."""
    held = {QUOTA: INFINITY, PERIOD: DEFAULT_PERIOD_USEC, BURST: 0, **current, name: value}
    quota_usec_per_sec, wanted_period, burst = held[QUOTA], held[PERIOD], held[BURST]
    assert isinstance(quota_usec_per_sec, int)
    assert isinstance(wanted_period, int)
    assert isinstance(burst, int)
    period = period_of(quota_usec_per_sec, wanted_period) if quota_usec_per_sec != INFINITY else wanted_period
    quota = quota_in_period(quota_usec_per_sec, period)
    if name == BURST:
        return [("cpu.max.burst", str(min(burst, quota)))]
    lower = [("cpu.max.burst", str(quota))] if burst > quota else []
    return [*lower, ("cpu.max", f"{'max' if quota == INFINITY else quota} {period}")]


def _format_cpu_weight(value: Value, current: Mapping[str, Value]) -> list[tuple[str, str]]:
    """Idle is a file of its own, and while it is set the kernel refuses a weight."""
    if value == CPU_WEIGHT_IDLE:
        return [("cpu.idle", "1")]
    wake = [("cpu.idle", "0")] if current.get("CPUWeight") == CPU_WEIGHT_IDLE else []
    return [*wake, ("cpu.weight", str(value))]


def _format_devices(name: str, value: Value, current: Mapping[str, Value], *, bfq: bool) -> list[tuple[str, str]]:
    """One write a device; what `current` names and `value` does not goes back to no limit."""
    wanted, held = _pairs(value), _pairs(current.get(name, ()))
    unset = {device: None for device in held if device not in wanted}
    file = BFQ_FILE if bfq and name == "IODeviceWeight" else FILES[name]
    return [(file, f"{device} {_amount(name, amount, bfq=bfq)}") for device, amount in (unset | wanted).items()]


def _pairs(value: Value) -> dict[str, int | None]:
    assert isinstance(value, tuple)
    return {str(entry[0]): int(entry[1]) for entry in value if isinstance(entry, tuple)}


def _amount(name: str, amount: int | None, *, bfq: bool) -> str:
    if name == "IODeviceWeight":
        weight = amount if amount is None or not bfq else bfq_weight(amount)
        return "default" if weight is None else str(weight)
    return f"{_IO_MAX_KEYS.get(name, 'target')}={'max' if amount is None else amount}"
