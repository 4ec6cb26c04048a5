"""A real cgroup of our own where the machine lets us make one, and trees of plain files that look like cgroups."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import CgroupRoot
from governor.model.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator


def remove_cgroups(path: Path) -> None:
    with suppress(FileNotFoundError):
        for directory, _, _ in os.walk(path, topdown=False):
            Path(directory).rmdir()


@pytest.fixture
def live_cgroup() -> Iterator[Path]:
    """Return the directory of a fresh cgroup below the real root, removed afterwards with all below it."""
    try:
        root = CgroupRoot.find()
    except Unsupported as reason:
        pytest.skip(str(reason))
    path = Path(root.path) / f"governor-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a cgroup here: {error.strerror}")
    yield path
    remove_cgroups(path)


@pytest.fixture
def plain_root(tmp_path: Path) -> Path:
    """Return a directory that stands for the cgroup root."""
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.procs").write_text("")
    return root
