from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package, built once."""
    return _built(tmp_path_factory.mktemp("deb"), "build-deb", "*.deb")


@pytest.fixture(scope="session")
def rpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rpm package, built once."""
    return _built(tmp_path_factory.mktemp("rpm"), "build-rpm", "*.rpm")


def _built(directory: Path, script: str, pattern: str) -> Path:
    environment = {**os.environ, "GOVERNOR_DIST": str(directory)}
    done = subprocess.run(
        [TOP / "packaging" / script], capture_output=True, text=True, env=environment, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = directory.glob(pattern)
    return package
