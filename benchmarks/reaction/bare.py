"""The bare listener, which runs in the guest beside governor: hears of a new scope over D-Bus, sets one property.

bare.py UNIT_PATTERN PROPERTY VALUE [--at-once]

It knows no policy, keeps no ledger, looks at nothing that it did and restores nothing. It waits for the payload as
governor has to (a write before runc is done can make the start fail); with --at-once it does not.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    from dbus_fast import BusType, Message, MessageType, Variant
    from dbus_fast.aio import MessageBus
except ImportError:
    from dbus_next import BusType, Message, MessageType, Variant
    from dbus_next.aio import MessageBus

SYSTEMD = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{SYSTEMD}.Manager"
RULE = f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='UnitNew'"
SLICES = (Path("/sys/fs/cgroup/system.slice"), Path("/sys/fs/cgroup/machine.slice"))
RUNTIMES = ("runc", "crun")
PAUSE_SEC = 0.01
"""How often it looks for the payload: as often as governor does."""
LOOKS = 3000
EARLY_LOOKS = 50
"""A unit is announced a moment before its cgroup is there. One that is not there after these looks is gone."""


class Listener:
    """Sets one property on every scope whose name matches."""

    def __init__(self, bus: Any, pattern: str, name: str, value: int) -> None:
        self._bus = bus
        self._pattern = re.compile(pattern)
        self._properties = [[name, Variant("t", value)]]
        self._seen: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.at_once = False

    def heard(self, message: Any) -> None:
        """Take a message; a unit is new once, however often systemd says so."""
        if message.message_type is not MessageType.SIGNAL or message.member != "UnitNew":
            return
        unit = message.body[0]
        if unit not in self._seen and self._pattern.fullmatch(unit):
            self._seen.add(unit)
            task = asyncio.create_task(self._limit(unit))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _limit(self, unit: str) -> None:
        if not self.at_once and not await started(unit):
            return
        await call(self._bus, PATH, MANAGER, "SetUnitProperties", "sba(sv)", [unit, True, self._properties])


async def started(unit: str) -> bool:
    """Return true once a process of the unit is past its runtime's init; false where the unit is gone."""
    for look in range(LOOKS):
        there = [top / unit for top in SLICES if (top / unit).is_dir()]
        if any(map(runs, there)):
            return True
        if not there and look >= EARLY_LOOKS:
            return False
        await asyncio.sleep(PAUSE_SEC)
    return False


def runs(scope: Path) -> bool:
    """Return whether a process in a cgroup, or in the one that crun makes below it, is past its runtime's init."""
    for directory in (scope, scope / "container"):
        with suppress(OSError):
            if any(map(is_payload, (directory / "cgroup.procs").read_text().split())):
                return True
    return False


def is_payload(pid: str) -> bool:
    """Return whether a process is neither runc nor crun by its name and its file."""
    with suppress(OSError):
        names = Path("/proc", pid, "comm").read_text() + os.fsdecode(Path("/proc", pid, "exe").readlink())
        return not any(runtime in names for runtime in RUNTIMES)
    return False


async def call(bus: Any, path: str, interface: str, member: str, signature: str = "", body: Any = ()) -> None:
    """Call a method of systemd and wait for its answer; what it refuses is said on standard error."""
    message = Message(SYSTEMD, path, interface, member, signature=signature, body=list(body))
    reply = await bus.call(message)
    if reply.message_type is MessageType.ERROR:
        print(reply.error_name, reply.body, file=sys.stderr, flush=True)


async def main() -> None:
    """Listen until killed."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    listener = Listener(bus, sys.argv[1], sys.argv[2], int(sys.argv[3]))
    listener.at_once = "--at-once" in sys.argv
    bus.add_message_handler(listener.heard)
    await call(bus, PATH, MANAGER, "Subscribe")
    bus_names = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch")
    await bus.call(Message(*bus_names, signature="s", body=[RULE]))
    print("ready", flush=True)
    await bus.wait_for_disconnect()


if __name__ == "__main__":
    asyncio.run(main())
