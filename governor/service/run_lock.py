"""One process at a time works on the ledger: the daemon, or whoever restores after it."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from governor.model.errors import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

RETRY_SEC = 0.1


class RunLock:
    """An exclusive lock on a file that the kernel drops when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def take(self, wait_sec: float) -> None:
        """Take the lock, waiting at most `wait_sec`; for start-up, before the event loop runs.

        Raises Unsupported where another process holds it.
        """
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_sec
        while not self._try():
            if time.monotonic() > deadline:
                os.close(self._fd)
                raise Unsupported(f"{self._path} is held: a governor is running, or a restore is under way")
            time.sleep(RETRY_SEC)

    def drop(self) -> None:
        """Let go of the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
