"""What a plot shows of a container, as a table: one panel a resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.model.values import Value
    from governor.service.playback import Recorded

_NAN: Final = float("nan")
_MIB: Final = 1024 * 1024
WAIT: Final = "#d9822b"
_USED, _ALSO_USED, _LIMIT, _HARD_LIMIT = "#2f6db5", "#6fa8dc", "#c23b3b", "#7d1f1f"
_PROTECTED, _PRESSED = "#1f7a4d", "#8a5bb5"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: its label, colour, style, and what it shows of one container."""

    label: str
    colour: str
    style: str
    of: Callable[[Recorded, Mapping[str, Value]], float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: usage and limits in the same unit on the left, shares of time on the right.

    `properties` are those whose actions are marked here.
    """

    title: str
    unit: str
    usage: tuple[Line, ...]
    waits: tuple[Line, ...]
    properties: tuple[str, ...]


def _signal(name: str, scale: float = 1.0) -> Callable[[Recorded, Mapping[str, Value]], float]:
    def of(recorded: Recorded, _limits: Mapping[str, Value]) -> float:
        value = recorded.sample.get(name)
        return _NAN if value is None else value / scale

    return of


def _limit(name: str, scale: float) -> Callable[[Recorded, Mapping[str, Value]], float]:
    def of(_recorded: Recorded, limits: Mapping[str, Value]) -> float:
        value = limits.get(name)
        # a protection of 0 protects nothing, and no limit is 0
        return value / scale if isinstance(value, int) and value not in (0, INFINITY) else _NAN

    return of


def _total(name: str, scale: float) -> Callable[[Recorded, Mapping[str, Value]], float]:
    """Return the sum of what a list of devices is limited to."""

    def of(_recorded: Recorded, limits: Mapping[str, Value]) -> float:
        value = limits.get(name)
        amounts = [entry[1] for entry in value if isinstance(entry, tuple)] if isinstance(value, tuple) else []
        return sum(float(amount) for amount in amounts) / scale if amounts else _NAN

    return of


PANELS: Final = (
    Panel(
        "CPU",
        "cores",
        (
            Line("usage", _USED, "-", _signal("cpu.usage")),
            Line("CPUQuota", _LIMIT, "--", _limit("CPUQuotaPerSecUSec", USEC_PER_SEC)),
        ),
        (
            Line("throttled periods", WAIT, "-", _signal("cpu.throttled_ratio", 0.01)),
            Line("pressure, some", _PRESSED, ":", _signal("pressure.cpu.some", 0.01)),
        ),
        ("CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "CPUBurstUSec", "CPUWeight", "AllowedCPUs"),
    ),
    Panel(
        "Memory",
        "MiB",
        (
            Line("in use", _USED, "-", _signal("memory.current", _MIB)),
            Line("working set", _ALSO_USED, "-", _signal("memory.working_set", _MIB)),
            Line("MemoryHigh", _LIMIT, "--", _limit("MemoryHigh", _MIB)),
            Line("MemoryMax", _HARD_LIMIT, "-.", _limit("MemoryMax", _MIB)),
            Line("MemoryLow", _PROTECTED, ":", _limit("MemoryLow", _MIB)),
        ),
        (Line("pressure, some", WAIT, "-", _signal("pressure.memory.some", 0.01)),),
        ("MemoryHigh", "MemoryMax", "MemoryLow", "MemoryMin", "MemorySwapMax", "MemoryZSwapMax", "Freeze"),
    ),
    Panel(
        "IO",
        "MiB/s",
        (
            Line("read", _USED, "-", _signal("io.read_bytes", _MIB)),
            Line("written", _ALSO_USED, "-", _signal("io.write_bytes", _MIB)),
            Line("read limit", _LIMIT, "--", _total("IOReadBandwidthMax", _MIB)),
            Line("write limit", _HARD_LIMIT, "-.", _total("IOWriteBandwidthMax", _MIB)),
        ),
        (Line("pressure, some", WAIT, "-", _signal("pressure.io.some", 0.01)),),
        ("IOWeight", "IOReadBandwidthMax", "IOWriteBandwidthMax", "IODeviceWeight", "IODeviceLatencyTargetUSec"),
    ),
)
