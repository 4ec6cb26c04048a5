"""Make plain scopes with a sleeping process each; runs in the guest.

scopes.py FIRST LAST    makes bench-FIRST.scope to bench-LAST.scope in system.slice
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from subprocess import DEVNULL
from typing import Any

try:
    from dbus_fast import BusType, Message, MessageType, Variant
    from dbus_fast.aio import MessageBus
except ImportError:
    from dbus_next import BusType, Message, MessageType, Variant
    from dbus_next.aio import MessageBus

SYSTEMD = "org.freedesktop.systemd1"


async def start(bus: Any, number: int) -> None:
    """Start one process, which holds none of our outputs open, and have systemd put it into a scope of its own."""
    sleeper = subprocess.Popen(["sleep", "1000000"], stdout=DEVNULL, stderr=DEVNULL)  # noqa: ASYNC220 - does not wait
    body = [f"bench-{number}.scope", "fail", [["PIDs", Variant("au", [sleeper.pid])]], []]
    message = Message(
        destination=SYSTEMD,
        path="/org/freedesktop/systemd1",
        interface=f"{SYSTEMD}.Manager",
        member="StartTransientUnit",
        signature="ssa(sv)a(sa(sv))",
        body=body,
    )
    reply = await bus.call(message)
    if reply.message_type is MessageType.ERROR:
        raise SystemExit(f"{reply.error_name}: {reply.body}")


async def main() -> None:
    """Make the scopes that the arguments ask for."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    for number in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
        await start(bus, number)


if __name__ == "__main__":
    asyncio.run(main())
