from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.bus.connection import Bus
from governor.service.api import Api
from tests.bus.private_bus import PrivateBus
from tests.service.fake_core import FakeCore
from tests.service.fake_polkit import FakePolkit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def api_bus(tmp_path: Path) -> Iterator[PrivateBus]:
    bus = PrivateBus(tmp_path)
    bus.start()
    yield bus
    bus.kill()


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()


@pytest.fixture
async def api(api_bus: PrivateBus, core: FakeCore) -> AsyncIterator[Api]:
    """The API on a private bus, with two containers in its core."""
    bus = await Bus.connect(api_bus.address, timeout_sec=5)
    service = Api(bus, core, core)
    await service.start()
    yield service
    await bus.close()


@pytest.fixture
async def polkit(api_bus: PrivateBus) -> AsyncIterator[FakePolkit]:
    bus = await Bus.connect(api_bus.address)
    authority = FakePolkit()
    await authority.serve(bus)
    yield authority
    await bus.close()


@pytest.fixture
async def root_client(api_bus: PrivateBus) -> AsyncIterator[Bus]:
    bus = await Bus.connect(api_bus.address, timeout_sec=5)
    yield bus
    await bus.close()
