from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.fake_governor import BusDaemon, FakeGovernor, FakeManager

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bus_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    daemon = BusDaemon(tmp_path_factory.mktemp("bus"))
    yield daemon.address
    daemon.stop()


@pytest.fixture
def system_bus(bus_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The private bus, which is now the system bus of this process and its children."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus_address)
    return bus_address


@pytest.fixture
def daemon(system_bus: str) -> Iterator[FakeGovernor]:
    service = FakeGovernor(system_bus)
    yield service
    service.stop()


@pytest.fixture
def manager(system_bus: str) -> Iterator[FakeManager]:
    service = FakeManager(system_bus)
    yield service
    service.stop()
