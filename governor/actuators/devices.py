"""No container loses a device: refuse a write that would make systemd take one away.

Any write to a unit makes systemd attach its own device filter again, made from DevicePolicy= and DeviceAllow=. What a
hook let in behind systemd's back (a GPU, a device added by hand) would then be gone until the container is recreated.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.kernel import bpf
from governor.kernel.devices import lost_devices
from governor.model.errors import Unsupported
from governor.model.text import printable

if TYPE_CHECKING:
    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import Cgroup
    from governor.kernel.devices import Node
    from governor.model.container import Container

_PROPERTIES = ("DevicePolicy", "DeviceAllow")
_NAMED_AT_MOST = 5
_PATH_LIMIT = 80


@dataclass(frozen=True, slots=True)
class _Asked:
    """What systemd said of a unit's devices, and the filters that were attached then."""

    filters: frozenset[int]
    policy: str
    allow: tuple[tuple[str, str], ...]


class Devices:
    """Compares what the kernel allows a container with what systemd would allow it.

    Systemd's answer is kept for as long as the filters on the cgroup are the same: it attaches a new one whenever the
    unit's device properties change. So the answer can be had while a container is still being made.
    """

    def __init__(self) -> None:
        self._asked: dict[int, _Asked] = {}

    async def prepare(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> None:
        """Ask now what refusal() will need, once there is a filter whose change would show that it is old.

        Raises Gone, ActuationError, Unsupported.
        """
        if _filters(cgroup):
            await self._ask(container, cgroup, systemd)

    async def refusal(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> str | None:
        """Return which devices a write to the container's unit would take away, in words, or None.

        Raises Gone, ActuationError. Files of the container's own are read in a worker.
        """
        asked = await self._ask(container, cgroup, systemd)
        if asked.policy == "auto" and not asked.allow:
            return None
        lost = await asyncio.to_thread(_lost, cgroup.duplicate(), asked.policy, asked.allow)
        return _words(lost) if lost else None

    def forget(self, inode: int) -> None:
        """Drop what is known of a container that ended."""
        self._asked.pop(inode, None)

    async def _ask(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> _Asked:
        filters = _filters(cgroup)
        known = self._asked.get(container.inode)
        if known is not None and filters and known.filters == filters:
            return known
        found = await systemd.get_limits(container.unit, _PROPERTIES)
        policy, allow = found.get("DevicePolicy", "auto"), found.get("DeviceAllow", ())
        assert isinstance(allow, tuple)
        pairs = tuple((str(entry[0]), str(entry[1])) for entry in allow if isinstance(entry, tuple))
        asked = self._asked[container.inode] = _Asked(filters, str(policy), pairs)
        return asked


def _filters(cgroup: Cgroup) -> frozenset[int]:
    """Return the ids of all device filters in force; nothing where the kernel does not let us look."""
    try:
        return frozenset(bpf.effective_programs(cgroup.fileno(), bpf.CGROUP_DEVICE))
    except Unsupported:
        return frozenset()


def _lost(mine: Cgroup, policy: str, allow: tuple[tuple[str, str], ...]) -> tuple[Node, ...]:
    with mine as cgroup:
        # only nodes in the container's own /dev: runc lets each container use /dev/net/tun, which none has, and its
        # unit's DeviceAllow= does not say so (docker on Debian 12); that must not keep all of them from their limits
        return lost_devices(cgroup, policy, allow, dev=None)


def _words(lost: tuple[Node, ...]) -> str:
    names = ", ".join(printable(str(node), _PATH_LIMIT) for node in lost[:_NAMED_AT_MOST])
    more = f" and {len(lost) - _NAMED_AT_MOST} more" if len(lost) > _NAMED_AT_MOST else ""
    return f"a device would be lost: systemd's DeviceAllow= of the unit does not have {names}{more}"
