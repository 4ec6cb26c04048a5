"""The fixture `guest`, and the rule that tests in this folder run only when they are asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.governed import Governed
from tests.vm.guest import Guest
from tests.vm.image import SUITES

HERE = Path(__file__).parent
INSTALLED = "installed"
TIMEOUT = 1200
"""Seconds that one test may take: emulation is slow, and the first test waits for an image and a snapshot."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --vm-suite, where this folder is named on the command line."""
    parser.addoption("--vm-suite", choices=SUITES, default=None, help="the guest's Debian release (default: trixie)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that all tests in this folder have."""
    config.addinivalue_line("markers", "vm: runs in a virtual machine")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out unless the command line names it or something in it."""
    if not collection_path.is_relative_to(HERE):
        return None
    asked = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in asked) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def guest(pytestconfig: pytest.Config) -> Iterator[Guest]:
    """Return the guest that all tests share; see `fresh_guest` for how they are kept apart."""
    suite = pytestconfig.getoption("--vm-suite") or os.environ.get("GOVERNOR_VM_SUITE") or "trixie"
    with Guest.start(suite, "pytest") as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def fresh_guest(guest: Guest) -> None:
    """Take the guest back to its snapshot before each module."""
    guest.reset()


@pytest.fixture(scope="session")
def installed(guest: Guest) -> str:
    """Return the name of the snapshot in which the package is installed; it is made once."""
    guest.reset()
    Governed(guest).install()
    guest.save(INSTALLED)
    return INSTALLED


@pytest.fixture(scope="module")
def governed(guest: Guest, installed: str) -> Governed:
    """Return the daemon in a guest in which nothing has happened but its installation."""
    guest.reset(installed)
    # a snapshot's clock may jump by the time since it was taken: further than the watchdog allows
    made = Governed(guest)
    guest.sh("systemctl reset-failed governor; systemctl restart governor", timeout=180)
    made.wait_ready()
    return made
