"""No container loses a device: refuse a write that would make systemd take one away.

Any write to a unit makes systemd attach its own device filter again, made from DevicePolicy= and DeviceAllow=. What a
hook let in behind systemd's back (a GPU, a device added by hand) would then be gone until the container is recreated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from governor.kernel.devices import lost_devices
from governor.model.text import printable

if TYPE_CHECKING:
    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import Cgroup
    from governor.kernel.devices import Node
    from governor.model.container import Container

_PROPERTIES = ("DevicePolicy", "DeviceAllow")
_NAMED_AT_MOST = 5
_PATH_LIMIT = 80


class Devices:
    """Compares what the kernel allows a container with what systemd would allow it."""

    async def refusal(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> str | None:
        """Return which devices a write to the container's unit would take away, in words, or None.

        Raises Gone, ActuationError. Files of the container's own are read in a worker.
        """
        found = await systemd.get_limits(container.unit, _PROPERTIES)
        policy, allow = found.get("DevicePolicy", "auto"), found.get("DeviceAllow", ())
        assert isinstance(allow, tuple)
        pairs = [(str(entry[0]), str(entry[1])) for entry in allow if isinstance(entry, tuple)]
        if policy == "auto" and not pairs:
            return None
        lost = await asyncio.to_thread(_lost, cgroup.duplicate(), str(policy), pairs)
        return _words(lost) if lost else None


def _lost(mine: Cgroup, policy: str, allow: list[tuple[str, str]]) -> tuple[Node, ...]:
    with mine as cgroup:
        # only nodes in the container's own /dev: runc lets each container use /dev/net/tun, which none has, and its
        # unit's DeviceAllow= does not say so (docker on Debian 12); that must not keep all of them from their limits
        return lost_devices(cgroup, policy, allow, dev=None)


def _words(lost: tuple[Node, ...]) -> str:
    names = ", ".join(printable(str(node), _PATH_LIMIT) for node in lost[:_NAMED_AT_MOST])
    more = f" and {len(lost) - _NAMED_AT_MOST} more" if len(lost) > _NAMED_AT_MOST else ""
    return f"a device would be lost: systemd's DeviceAllow= of the unit does not have {names}{more}"
