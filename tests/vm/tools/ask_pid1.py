"""How long PID 1 takes to answer, asked over one connection while a file has not the value that is waited for."""

import asyncio
import sys
import time
from pathlib import Path

from governor.bus.connection import Bus

SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.DBus.Peer", "Ping")
PAUSE_SEC = 0.05


def says(path: Path, value: str) -> bool:
    """Tell whether the kernel's file has this value; reading it never waits."""
    return path.read_text().strip() == value


async def worst_ms(path: Path, value: str, limit_sec: float) -> float:
    """Return the longest answer in ms until `path` says `value` and a second has passed, or `limit_sec` have."""
    bus, worst, end, rest_sec = await Bus.connect(), 0.0, time.monotonic() + limit_sec, 1.0
    while time.monotonic() < end and rest_sec > 0:
        asked = time.monotonic()
        await bus.call(*SYSTEMD)
        worst = max(worst, time.monotonic() - asked)
        await asyncio.sleep(PAUSE_SEC)
        rest_sec -= PAUSE_SEC if says(path, value) else 0.0
    await bus.close()
    return worst * 1e3


print("ready", flush=True)
print(round(asyncio.run(worst_ms(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))))
