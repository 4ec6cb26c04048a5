"""governord: the daemon. Start-up, the loop, the signals, and the way out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from governor import __version__
from governor.exporters import messages
from governor.exporters.journal import Journal
from governor.kernel.own import disable_huge_pages
from governor.model.errors import ActuationError, Unsupported
from governor.model.policy import Mode
from governor.policy.load import Directories
from governor.service.daemon import Daemon
from governor.service.host import connect
from governor.service.paths import Paths
from governor.service.policies import Policies
from governor.service.run_lock import RunLock
from governor.service.wants import Wants

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK_WAIT_SEC = 20.0
"""A restore that is under way ends within its patience; then there is nothing left to adopt."""

EXIT_UNSUPPORTED = 69  # EX_UNAVAILABLE, sysexits.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop. Return 0, or 69 where this host lacks what it needs."""
    parser = argparse.ArgumentParser(prog="governord", description="Resource governor for containers; governord(8)")
    parser.add_argument("--version", action="version", version=f"governord {__version__}")
    parser.parse_args(arguments)
    if os.geteuid() != 0:
        parser.error("governord needs root; start it with: systemctl start governor")
    disable_huge_pages()
    # what is imported stays for good: the collector need not look at it again
    gc.collect()
    gc.freeze()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    journal, paths = Journal(), Paths()
    lock = RunLock(paths.lock)
    try:
        lock.take(LOCK_WAIT_SEC)
        asyncio.run(_serve(paths, journal))
    except (Unsupported, ActuationError) as error:
        journal.log(messages.PART_FAILED, f"cannot start: {error}")
        return EXIT_UNSUPPORTED
    finally:
        lock.drop()
    return 0


async def _serve(paths: Paths, journal: Journal) -> None:
    policies = Policies(Directories(), paths, journal)
    first = await asyncio.to_thread(policies.first)
    parts = await connect(paths)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        daemon = Daemon(parts, paths, journal, policies, Wants(first, _mode(paths)))
        loop.add_signal_handler(signal.SIGHUP, daemon.reload_asked)
        await daemon.run(stop)
    finally:
        await parts.close()


def _mode(paths: Paths) -> Mode | None:
    """Return the mode that was set at run time since the last boot."""
    with contextlib.suppress(OSError, ValueError):
        return Mode(paths.mode.read_text().strip())
    return None


if __name__ == "__main__":
    sys.exit(main())
