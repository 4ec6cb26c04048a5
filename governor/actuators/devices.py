"""No container loses a device: refuse a write that would make systemd take one away.

Any write to a unit makes systemd attach its own device filter again, made from DevicePolicy= and DeviceAllow=. What a
hook let in behind systemd's back (a GPU, a device added by hand) would then be gone until the container is recreated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import Cgroup
    from governor.model.container import Container


class Devices:
    """stop-gap"""

    async def refusal(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> str | None:
        """Return why"""
        return None
