"""The one table of directives: parser, schema, bus, actuators, docs and completion all read it.

Names, meaning and spelling are those of systemd.resource-control(5); signatures are systemd's
org.freedesktop.systemd1(5). CPUBurst has no property in systemd: it is the kernel's cpu.max.burst
(Documentation/admin-guide/cgroup-v2.rst), written as a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a directive's value is spelled in TOML."""

    WEIGHT = "weight"
    CPU_WEIGHT = "cpu-weight"
    CPU_PERCENT = "cpu-percent"
    TIMESPAN = "timespan"
    BYTES = "bytes"
    TASKS = "tasks"
    BOOLEAN = "boolean"
    CPU_SET = "cpu-set"
    DEVICE_WEIGHT = "device-weight"
    DEVICE_BYTES = "device-bytes"
    DEVICE_COUNT = "device-count"
    DEVICE_TIMESPAN = "device-timespan"
    NETWORKS = "networks"
    SOCKET_BIND = "socket-bind"
    INTERFACES = "interfaces"
    DEVICE_POLICY = "device-policy"
    DEVICE_ALLOW = "device-allow"
    OOM_MODE = "oom-mode"
    PERMYRIAD = "permyriad"


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive: `name` as in unit files and TOML, `property` and `signature` as on D-Bus."""

    name: str
    property: str
    signature: str
    kind: Kind
    controller: str
    """The cgroup v2 controller it needs (cpu, cpuset, io, memory, pids), `bpf` or `oomd`."""
    summary: str


def _same(name: str, signature: str, kind: Kind, controller: str, summary: str) -> Directive:
    return Directive(name, name, signature, kind, controller, summary)


_K = Kind

_TABLE = (
    _same("CPUWeight", "t", _K.CPU_WEIGHT, "cpu", "CPU time relative to siblings, 1 to 10000 or idle"),
    _same("StartupCPUWeight", "t", _K.CPU_WEIGHT, "cpu", "CPUWeight while the host starts up or shuts down"),
    Directive("CPUQuota", "CPUQuotaPerSecUSec", "t", _K.CPU_PERCENT, "cpu", "CPU time as a percentage of one CPU"),
    Directive("CPUQuotaPeriodSec", "CPUQuotaPeriodUSec", "t", _K.TIMESPAN, "cpu", "Period of CPUQuota, 1 ms to 1 s"),
    Directive("CPUBurst", "CPUBurstUSec", "t", _K.TIMESPAN, "cpu", "Unused quota that may be saved up and spent later"),
    _same("AllowedCPUs", "ay", _K.CPU_SET, "cpuset", "CPUs that may be used, as in 0-3,8"),
    _same("StartupAllowedCPUs", "ay", _K.CPU_SET, "cpuset", "AllowedCPUs while the host starts up or shuts down"),
    _same("AllowedMemoryNodes", "ay", _K.CPU_SET, "cpuset", "NUMA nodes that memory may come from"),
    _same("StartupAllowedMemoryNodes", "ay", _K.CPU_SET, "cpuset", "AllowedMemoryNodes while starting up"),
    _same("MemoryMin", "t", _K.BYTES, "memory", "Memory that is never reclaimed"),
    _same("MemoryLow", "t", _K.BYTES, "memory", "Memory that is reclaimed only where nothing else is left"),
    _same("MemoryHigh", "t", _K.BYTES, "memory", "Usage above it is throttled and reclaimed"),
    _same("MemoryMax", "t", _K.BYTES, "memory", "Usage above it invokes the OOM killer"),
    _same("MemorySwapMax", "t", _K.BYTES, "memory", "Swap that may be used"),
    _same("MemoryZSwapMax", "t", _K.BYTES, "memory", "Compressed swap that may be used"),
    _same("TasksMax", "t", _K.TASKS, "pids", "Processes and threads that may exist"),
    _same("IOWeight", "t", _K.WEIGHT, "io", "Block IO relative to siblings, 1 to 10000"),
    _same("StartupIOWeight", "t", _K.WEIGHT, "io", "IOWeight while the host starts up or shuts down"),
    _same("IODeviceWeight", "a(st)", _K.DEVICE_WEIGHT, "io", "IOWeight on one device"),
    _same("IOReadBandwidthMax", "a(st)", _K.DEVICE_BYTES, "io", "Bytes a second that may be read from a device"),
    _same("IOWriteBandwidthMax", "a(st)", _K.DEVICE_BYTES, "io", "Bytes a second that may be written to a device"),
    _same("IOReadIOPSMax", "a(st)", _K.DEVICE_COUNT, "io", "Reads a second from a device"),
    _same("IOWriteIOPSMax", "a(st)", _K.DEVICE_COUNT, "io", "Writes a second to a device"),
    Directive(
        "IODeviceLatencyTargetSec",
        "IODeviceLatencyTargetUSec",
        "a(st)",
        _K.DEVICE_TIMESPAN,
        "io",
        "IO latency to be protected on a device",
    ),
    _same("IPAccounting", "b", _K.BOOLEAN, "bpf", "Whether IP traffic is counted"),
    _same("IPAddressAllow", "a(iayu)", _K.NETWORKS, "bpf", "Networks that may be talked to"),
    _same("IPAddressDeny", "a(iayu)", _K.NETWORKS, "bpf", "Networks that may not be talked to"),
    _same("SocketBindAllow", "a(iiqq)", _K.SOCKET_BIND, "bpf", "Ports that may be bound"),
    _same("SocketBindDeny", "a(iiqq)", _K.SOCKET_BIND, "bpf", "Ports that may not be bound"),
    _same("RestrictNetworkInterfaces", "(bas)", _K.INTERFACES, "bpf", "Network interfaces that may be used"),
    _same("DevicePolicy", "s", _K.DEVICE_POLICY, "bpf", "auto, closed or strict device access"),
    _same("DeviceAllow", "a(ss)", _K.DEVICE_ALLOW, "bpf", "Devices that may be used, as in /dev/null rw"),
    _same("ManagedOOMSwap", "s", _K.OOM_MODE, "oomd", "Whether systemd-oomd may kill for swap use: auto or kill"),
    _same("ManagedOOMMemoryPressure", "s", _K.OOM_MODE, "oomd", "Whether systemd-oomd may kill for pressure"),
    _same("ManagedOOMMemoryPressureLimit", "u", _K.PERMYRIAD, "oomd", "Pressure at which systemd-oomd kills"),
)

FREEZE = "Freeze"
"""The kernel's cgroup.freeze, which only feedback sets: a lease like every other, so that nothing stays frozen."""

_FREEZE = _same(FREEZE, "b", _K.BOOLEAN, "core", "Whether the processes are stopped where they are")

BY_NAME = {directive.name: directive for directive in _TABLE}
"""Every directive by its name in TOML."""

BY_PROPERTY = {directive.property: directive for directive in (*_TABLE, _FREEZE)}
"""Every directive by its D-Bus property, and what has none but is leased all the same."""
