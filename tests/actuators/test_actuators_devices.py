"""Systemd's answer about a unit's devices is kept for as long as the filters are the same, and no longer."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from governor.actuators.devices import Devices
from governor.kernel.cgroup import Cgroup, CgroupRoot
from governor.model.container import Container
from governor.model.errors import Unsupported
from tests.kernel.device_programs import attach, systemd_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.bus.systemd import Systemd
    from governor.model.values import Value


class Manager:
    """Answers as systemd does for one unit, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.policy = "auto"

    async def get_limits(self, unit: str, properties: Iterable[str]) -> dict[str, Value]:
        del unit, properties
        self.asked += 1
        return {"DevicePolicy": self.policy, "DeviceAllow": (("/dev/null", "rwm"),) if self.policy != "auto" else ()}


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """Return a cgroup of this process's own on the real hierarchy."""
    try:
        root = CgroupRoot.find()
    except Unsupported as why:
        pytest.skip(str(why))
    directory = Path(root.path, f"governor-test-devices-{os.getpid()}")
    directory.mkdir()
    with root.open(f"/{directory.name}") as opened:
        yield opened
    for _ in range(100):
        with contextlib.suppress(OSError):
            directory.rmdir()
            break
        time.sleep(0.02)


def container(cgroup: Cgroup) -> Container:
    return Container(runtime="docker", namespace="", id="x", name="x", unit="x.scope", cgroup="/x", inode=cgroup.inode)


async def test_it_asks_anew_when_another_filter_was_attached(cgroup: Cgroup) -> None:
    devices, manager = Devices(), Manager()
    systemd = cast("Systemd", manager)
    attach(systemd_filter([("c", 1, 3, 7)]), cgroup.fileno(), b"sd_devices")
    await devices.prepare(container(cgroup), cgroup, systemd)
    assert await devices.refusal(container(cgroup), cgroup, systemd) is None
    assert manager.asked == 1
    await devices.prepare(container(cgroup), cgroup, systemd)
    assert manager.asked == 1
    attach(systemd_filter([("c", 1, 3, 7)]), cgroup.fileno(), b"sd_devices")
    await devices.refusal(container(cgroup), cgroup, systemd)
    assert manager.asked == 2
    devices.forget(cgroup.inode)
    await devices.refusal(container(cgroup), cgroup, systemd)
    assert manager.asked == 3


async def test_without_a_filter_of_systemds_it_asks_each_time(cgroup: Cgroup) -> None:
    devices, manager = Devices(), Manager()
    systemd = cast("Systemd", manager)
    for _ in range(3):
        await devices.refusal(container(cgroup), cgroup, systemd)
    assert manager.asked == 3
