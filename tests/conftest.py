"""What holds for every test: hypothesis judges results, never times, since machines are shared."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("governor", deadline=None)
settings.load_profile("governor")


@pytest.fixture(autouse=True)
def _sigpipe_as_python_has_it() -> Iterator[None]:
    """Undo what a command line tool does to its process, which in tests is the one that all of them share."""
    yield
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
