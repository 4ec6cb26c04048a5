"""What the daemon knows about its host beyond what anybody can look up: what it could reach, and who else acts here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from governor.bus.library import NAME as LIBRARY
from governor.kernel import features
from governor.kernel.xattr import invocation_id
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.feature import Feature
from governor.service.lacking import named

if TYPE_CHECKING:
    from governor.service.host import HostParts
    from governor.service.neighbours import Neighbours


class Doctor:
    """Examines the host; nothing is changed."""

    def __init__(self, parts: HostParts, neighbours: Neighbours) -> None:
        self._parts = parts
        self._neighbours = neighbours

    async def examine(self) -> list[Feature]:
        """Return every feature, found or not, with what it means."""
        found = await asyncio.to_thread(lambda: list(features.probe()))
        found.append(Feature("dbus-library", available=True, meaning=f"{LIBRARY} is in use"))
        found.append(self._invocation())
        found.append(self._systemd_bpf())
        found.append(await self._polkit())
        found += [
            Feature(f"neighbour-{n.name}", available=True, meaning=f"active: it {n.acts}")
            for n in self._neighbours.active
        ]
        return found

    async def features(self) -> tuple[str, ...]:
        """Return the names of the features that are there."""
        return tuple(feature.name for feature in await self.examine() if feature.available)

    def _invocation(self) -> Feature:
        try:
            with self._parts.root.open("/system.slice") as cgroup:
                readable = bool(invocation_id(cgroup))
        except Gone:
            readable = False
        return Feature("invocation-xattr", readable, "a unit's invocation without a call to PID 1; else it is asked")

    def _systemd_bpf(self) -> Feature:
        lacks = self._parts.lacking
        return Feature("systemd-bpf", not lacks, f"systemd's own BPF programs; without them {named(lacks)} are refused")

    async def _polkit(self) -> Feature:
        names: list[str] = []
        try:
            [names] = await self._parts.bus.call(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListActivatableNames"
            )
        except (ActuationError, Unsupported):
            names = []
        there = "org.freedesktop.PolicyKit1" in names
        return Feature("polkit", there, "without it only root may change limits over D-Bus")
