"""The dead-man's timer: if the daemon does not come back, somebody else takes every write back.

Armed by ExecStopPost= after a crash or before a restart, cancelled by the daemon that has adopted the ledger. It is
never armed twice: a daemon that fails again and again must not push the end further and further away.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from governor.model.errors import ActuationError, Gone

if TYPE_CHECKING:
    from governor.bus.systemd import Systemd

NAME = "governor-restore"
DELAY_USEC = 30_000_000
COMMAND = (sys.executable, "-IB", "-m", "governor.service.stop_post", "--restore")
"""-B: no byte-code is left behind when it runs while the package is being removed."""


async def arm(systemd: Systemd) -> bool:
    """Start the timer unless it runs already; return whether this call started it. Raises ActuationError."""
    if any(unit.active == "active" for unit in await systemd.list_units([f"{NAME}.timer"])):
        return False
    await systemd.start_transient_timer(NAME, DELAY_USEC, COMMAND, "Restore what a vanished governor left behind")
    return True


async def cancel(systemd: Systemd) -> None:
    """Stop the timer where it runs. Raises ActuationError."""
    for unit in await systemd.list_units([f"{NAME}.timer"]):
        if unit.active == "active":
            try:
                await systemd.stop_unit(unit.name)
            except (Gone, ActuationError):
                if any(left.active == "active" for left in await systemd.list_units([unit.name])):
                    raise
