from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.bus.connection import Bus
from tests.bus.fake_systemd import FakeSystemd
from tests.bus.private_bus import PrivateBus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def private_bus(tmp_path: Path) -> Iterator[PrivateBus]:
    bus = PrivateBus(tmp_path)
    bus.start()
    yield bus
    bus.kill()


@pytest.fixture
async def bus(private_bus: PrivateBus) -> AsyncIterator[Bus]:
    connection = await Bus.connect(private_bus.address, timeout_sec=5)
    yield connection
    await connection.close()


@pytest.fixture
async def fake_systemd(private_bus: PrivateBus) -> AsyncIterator[FakeSystemd]:
    service = FakeSystemd(private_bus.address)
    await service.start()
    yield service
    await service.stop()
