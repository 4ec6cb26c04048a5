"""The systemd of each user: the system's own on the system bus, a user's by its private socket, once it is needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from governor.bus.systemd import Systemd, connect_user_manager
from governor.model.errors import ActuationError, Unsupported

if TYPE_CHECKING:
    from governor.bus.connection import Bus

RETRY_SEC = 30.0
"""How long a user's manager that did not answer is left alone: its owner decides when it answers."""


class Managers:
    """Gives the Systemd for a uid; None is the system's."""

    def __init__(self, system: Systemd) -> None:
        self._system = system
        self._users: dict[int, Systemd] = {}
        self._refused: dict[int, tuple[float, str]] = {}
        self._buses: list[Bus] = []

    async def get(self, uid: int | None) -> Systemd:
        """Return the manager of `uid`. Raises Unsupported where it cannot be reached: then we can only observe."""
        if uid is None:
            return self._system
        if uid in self._users:
            return self._users[uid]
        since, why = self._refused.get(uid, (0.0, ""))
        if why and time.monotonic() - since < RETRY_SEC:
            raise Unsupported(why)
        return await self._connect(uid)

    async def _connect(self, uid: int) -> Systemd:
        try:
            bus = await connect_user_manager(uid)
        except (Unsupported, ActuationError) as error:
            why = f"the manager of uid {uid} cannot be reached: {error}"
            self._refused[uid] = (time.monotonic(), why)
            raise Unsupported(why) from error
        self._buses.append(bus)
        self._users[uid] = Systemd(bus)
        return self._users[uid]

    async def close(self) -> None:
        """Close the connections to users' managers."""
        for bus in self._buses:
            await bus.close()
