"""Containers made of plain files, which the sensors cannot tell from a kernel's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import Cgroup
from governor.sensors import Sensors
from tests.sensors.kernel_files import KERNEL_6_12, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sensors() -> Iterator[Sensors]:
    made = Sensors()
    yield made
    made.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a container's directory, with the files of kernel 6.12."""
    return write(tmp_path / "container", KERNEL_6_12)


@pytest.fixture
def container(directory: Path) -> Iterator[Cgroup]:
    with Cgroup("/container", os.open(directory, os.O_RDONLY | os.O_DIRECTORY)) as cgroup:
        yield cgroup
