"""Other daemons that act on cgroups: found, named, and stood aside for where a property is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.bus.systemd import Systemd
    from governor.model.container import Container


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One daemon: the units that it runs as, what it does in words, and what is its own."""

    name: str
    units: tuple[str, ...]
    acts: str
    owns: Callable[[Container, str], bool]


def _nothing(_container: Container, _name: str) -> bool:
    return False


def _kubepods(container: Container, _name: str) -> bool:
    return container.pod is not None or "kubepods" in container.cgroup


def _cpusets(_container: Container, name: str) -> bool:
    return name in {"AllowedCPUs", "StartupAllowedCPUs"}


NEIGHBOURS = (
    Neighbour(
        "systemd-oomd",
        ("systemd-oomd.service",),
        "kills units whose ManagedOOM settings ask for it; they are set through systemd, so both agree",
        _nothing,
    ),
    Neighbour(
        "earlyoom",
        ("earlyoom.service", "nohang.service", "nohang-desktop.service"),
        "kills single processes when memory runs out, whatever their limits are",
        _nothing,
    ),
    Neighbour("TuneD", ("tuned.service",), "places processes on CPUs: AllowedCPUs is left to it", _cpusets),
    Neighbour(
        "the kubelet",
        ("kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service"),
        "sets and repairs the limits below kubepods: they are left to it",
        _kubepods,
    ),
)


class Neighbours:
    """Knows which of the neighbours run. `refresh` asks systemd; the answers until the next call are from memory."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self.active: tuple[Neighbour, ...] = ()

    async def refresh(self) -> tuple[Neighbour, ...]:
        """Ask which neighbours run and return those that have come since the last time."""
        patterns = [unit for neighbour in NEIGHBOURS for unit in neighbour.units]
        try:
            running = {unit.name for unit in await self._systemd.list_units(patterns) if unit.active == "active"}
        except (ActuationError, Unsupported, Gone):
            return ()
        active = tuple(neighbour for neighbour in NEIGHBOURS if running.intersection(neighbour.units))
        new = tuple(neighbour for neighbour in active if neighbour not in self.active)
        self.active = active
        return new

    def owner_of(self, container: Container, name: str) -> str | None:
        """Return why the property `name` of `container` is another daemon's, in words, or None."""
        for neighbour in self.active:
            if neighbour.owns(container, name):
                return f"{neighbour.name} is active and {neighbour.acts}"
        return None
