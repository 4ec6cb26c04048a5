"""The parts that both the daemon and the restorer are made of, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.actuators.apply import Applier
from governor.actuators.drop_ins import DropIns
from governor.actuators.ledger import Ledger
from governor.actuators.restore import Restorer
from governor.actuators.room import Room
from governor.bus.connection import Bus
from governor.bus.systemd import Systemd
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.host import Host
from governor.service.lacking import lacking
from governor.service.managers import Managers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.service.paths import Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """The kernel, the bus, the ledger and what writes with them. Make it with `connect`, end it with `close`."""

    root: CgroupRoot
    host: Host
    bus: Bus
    systemd: Systemd
    managers: Managers
    ledger: Ledger
    room: Room
    applier: Applier
    restorer: Restorer
    lacking: Mapping[str, str]
    """Properties that this host's systemd cannot enforce, and why, in words."""

    async def close(self) -> None:
        """Close the connections and let go of the worker threads."""
        self.room.close()
        await self.managers.close()
        await self.bus.close()


async def connect(paths: Paths) -> HostParts:
    """Return the parts of this host. Raises Unsupported where it has no cgroup v2 or no system bus, ActuationError."""
    root, host = CgroupRoot.find(), Host.probe()
    bus = await Bus.connect()
    systemd = Systemd(bus)
    managers = Managers(systemd)
    ledger, room, drop_ins = Ledger(paths.ledger), Room(), DropIns(systemd, host, paths.root)
    ledger.load()
    applier = Applier(ledger, room, drop_ins)
    return HostParts(
        lacking=await lacking(systemd),
        root=root,
        host=host,
        bus=bus,
        systemd=systemd,
        managers=managers,
        ledger=ledger,
        room=room,
        applier=applier,
        restorer=Restorer(
            root=root, host=host, ledger=ledger, applier=applier, drop_ins=drop_ins, manager=managers.get
        ),
    )
