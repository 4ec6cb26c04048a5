"""What `top` shows, as data: one row a container, its history, the order of rows. No terminal, no files."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from governor.cli.output import directive
from governor.cli.values import shown
from governor.cli.words import size
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from governor.model.container import Container
    from governor.model.signal import Sample
    from governor.model.values import Value

SIGNALS: Final = frozenset(
    {
        "cpu.usage",
        "cpu.throttled_ratio",
        "memory.current",
        "memory.working_set",
        "io.read_bytes",
        "io.write_bytes",
        "pressure.cpu.some",
        "pressure.memory.some",
        "pressure.io.some",
    }
)
HOST_SIGNALS: Final = frozenset(
    {"host.cpu.usage", "host.cpu.capacity", "host.memory.total", "host.memory.available"}
    | {f"host.pressure.{resource}.some" for resource in ("cpu", "memory", "io")}
)
LIMITS: Final = ("CPUQuotaPerSecUSec", "MemoryHigh", "MemoryMax")
"""What is read of the kernel with each look: the rest is the daemon's to tell."""
KEPT: Final = 60
"""How many looks a history has."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-=+*%#"


@dataclass(frozen=True, slots=True)
class Held:
    """One limit and who set it."""

    words: str
    source: str


@dataclass(slots=True)
class Row:
    """One container. Numbers that could not be read are None."""

    container: Container
    cpu: float | None = None
    memory: float | None = None
    memory_limit: int | None = None
    io: float | None = None
    pressure: tuple[float | None, float | None, float | None] = (None, None, None)
    """Of CPU, memory and IO: the share of time in which some task waited."""
    throttled: float | None = None
    held: tuple[Held, ...] = ()
    cpu_past: tuple[float, ...] = ()
    pressure_past: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What it is called; its id where it has no name."""
        return self.container.name or self.container.id[:12]

    @property
    def worst(self) -> float | None:
        """The highest of its pressures."""
        return max((value for value in self.pressure if value is not None), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        cpu, memory, io = self.pressure
        return {
            "id": self.container.id,
            "name": self.container.name,
            "runtime": self.container.runtime,
            "cpu_cores": self.cpu,
            "memory_working_set_bytes": self.memory,
            "memory_limit_bytes": self.memory_limit,
            "io_bytes_per_sec": self.io,
            "pressure": {"cpu": cpu, "memory": memory, "io": io},
            "throttled_ratio": self.throttled,
            "limits": [{"limit": one.words, "source": one.source} for one in self.held],
        }


@dataclass(slots=True)
class _Past:
    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    pressure: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))


class Histories:
    """The last minute of each container, for the sparklines."""

    def __init__(self) -> None:
        self._past: dict[int, _Past] = {}

    def add(self, row: Row) -> None:
        """Take a row's numbers in and give the row its past."""
        past = self._past.setdefault(row.container.inode, _Past())
        past.cpu.append(row.cpu or 0.0)
        past.pressure.append(row.worst or 0.0)
        row.cpu_past, row.pressure_past = tuple(past.cpu), tuple(past.pressure)

    def keep(self, inodes: Iterable[int]) -> None:
        """Forget all containers but these."""
        kept = set(inodes)
        for inode in self._past.keys() - kept:
            del self._past[inode]


def row_of(container: Container, sample: Sample, limits: Mapping[str, Value], held: tuple[Held, ...] = ()) -> Row:
    """Return the row of a container."""
    ceilings = [value for name in ("MemoryHigh", "MemoryMax") if isinstance(value := limits.get(name), int)]
    ceiling = min(ceilings, default=INFINITY)
    read, written = sample.get("io.read_bytes"), sample.get("io.write_bytes")
    cpu, memory, io = (sample.get(f"pressure.{resource}.some") for resource in ("cpu", "memory", "io"))
    return Row(
        container=container,
        cpu=sample.get("cpu.usage"),
        memory=sample.get("memory.working_set") or sample.get("memory.current"),
        memory_limit=None if ceiling == INFINITY else ceiling,
        io=None if read is None and written is None else (read or 0.0) + (written or 0.0),
        pressure=(cpu, memory, io),
        throttled=sample.get("cpu.throttled_ratio"),
        held=held,
    )


def held_of(explained: Iterable[Mapping[str, Any]]) -> tuple[Held, ...]:
    """Return the limits in an answer of Explain() that are in force or would be, with their sources."""
    found = []
    for one in explained:
        name = str(one.get("Property", ""))
        if name and "Value" in one:
            found.append(Held(f"{directive(name)}={shown(name, one['Value'])}", str(one.get("Source", "")) or "-"))
    return tuple(found)


_KEYS: Final[Mapping[str, Callable[[Row], float]]] = {
    "cpu": lambda row: -1.0 if row.cpu is None else row.cpu,
    "memory": lambda row: -1.0 if row.memory is None else row.memory,
    "io": lambda row: -1.0 if row.io is None else row.io,
    "pressure": lambda row: -1.0 if row.worst is None else row.worst,
    "throttled": lambda row: -1.0 if row.throttled is None else row.throttled,
}


def ordered(rows: Iterable[Row], by: str, *, turned: bool = False) -> list[Row]:
    """Return `rows` with the most of `by` first, equal ones by name; `turned` around on request."""
    named = sorted(rows, key=lambda row: (row.name, row.container.id))
    if by in _KEYS:
        named.sort(key=_KEYS[by], reverse=True)
    return named[::-1] if turned else named


def sparkline(values: Iterable[float], width: int, least_top: float, *, ascii_only: bool = False) -> str:
    """Return the last `width` values as bars, the highest of them, or `least_top`, being a full one."""
    bars = _ASCII_BARS if ascii_only else _BARS
    last = list(values)[-width:] if width > 0 else []
    top = max([*last, least_top])
    return "".join(_bar(value / top, bars) for value in last).rjust(width)


def _bar(share: float, bars: str) -> str:
    return " " if share <= 0 else bars[min(len(bars) - 1, int(share * len(bars)))]


def number(value: float | None) -> str:
    """Return cores with two digits after the point, or one where there are ten or more; a dash where not known."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"  # noqa: PLR2004 - it would be shown as 10.00


def percent(value: float | None) -> str:
    """Return a share as a percentage without its sign; a dash where it is not known."""
    return "-" if value is None else f"{100 * value:.0f}"


def amount(value: float | None) -> str:
    """Return bytes in short; a dash where they are not known."""
    return "-" if value is None else size(value)
