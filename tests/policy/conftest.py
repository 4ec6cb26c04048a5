"""Fixtures: policies from text, and a host's policy directories below a temporary root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from governor.policy.load import Directories

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(root=tmp_path / "root", uid=os.getuid())


@pytest.fixture
def write(directories: Directories) -> Callable[..., Path]:
    """Write a policy: `write("etc", "50-web.toml", text)` returns its file."""

    def _write(layer: str, name: str, text: str, mode: int = 0o644) -> Path:
        directory = directories.root / layer / "governor" / "policies.d"
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        file = directory / name
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        return file

    return _write
