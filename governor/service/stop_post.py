"""What runs after the daemon has ended, however it ended (ExecStopPost=), and when the dead-man's timer fires.

A stop restores every limit. A restart keeps them for the next daemon, and so does a crash, but both arm the timer that
restores them should no daemon come: a restart neither flaps nor leaks.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from governor.exporters import messages
from governor.exporters.journal import Journal
from governor.model.directives import BY_PROPERTY
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.tick import Outcome
from governor.policy.spelling import spell_line
from governor.service import dead_man
from governor.service.host import HostParts, connect
from governor.service.paths import Paths
from governor.service.run_lock import RunLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.actuators.apply import Result
    from governor.actuators.ledger import Entry

UNIT = "governor.service"
LOCK_WAIT_SEC = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Restore, or arm the timer. Return 0 where nothing of ours is left that should not be, else 1."""
    parser = argparse.ArgumentParser(prog="governor-stop-post", description=__doc__)
    parser.add_argument("--restore", action="store_true", help="restore now, unless a daemon runs")
    options = parser.parse_args(arguments)
    journal = Journal()
    paths = Paths()
    if not paths.ledger.exists():
        return 0
    lock = RunLock(paths.lock)
    try:
        lock.take(LOCK_WAIT_SEC)
    except Unsupported:
        return 0  # a daemon runs: the ledger is its own
    try:
        return asyncio.run(_run(paths, journal, restore_now=options.restore))
    except (ActuationError, Unsupported, Gone) as error:
        journal.log(messages.RESTORE_INCOMPLETE, f"cannot restore: {error}")
        return 1
    finally:
        lock.drop()


async def _run(paths: Paths, journal: Journal, *, restore_now: bool) -> int:
    parts = await connect(paths)
    try:
        if not restore_now and not await _stops_for_good(parts):
            if await dead_man.arm(parts.systemd):
                journal.log(messages.STOPPED, "limits stay for 30 s: a new daemon adopts them, else they are restored")
            return 0
        if not restore_now:
            await dead_man.cancel(parts.systemd)
        return await restore_everything(parts, journal)
    finally:
        await parts.close()


async def _stops_for_good(parts: HostParts) -> bool:
    """Return whether the daemon's unit is being stopped, as opposed to restarted or to having crashed.

    A restart is one job of that type until the unit has stopped, a crash has no job, a shutdown stops.
    """
    return await parts.systemd.unit_job(UNIT) == "stop"


async def restore_everything(parts: HostParts, journal: Journal) -> int:
    """Restore every entry of the ledger and report what could not be. Return 0 or 1."""
    results = await parts.restorer.restore(parts.ledger.entries())
    for entry, result in results:
        _report(journal, entry, result)
    left = [result for _, result in results if result.outcome is not Outcome.RESTORED]
    for damaged in parts.ledger.damaged:
        journal.log(messages.RESTORE_INCOMPLETE, f"ledger entry set aside, nothing restored from it: {damaged}")
    return 1 if left or parts.ledger.damaged else 0


def _report(journal: Journal, entry: Entry, result: Result) -> None:
    done = result.outcome is Outcome.RESTORED
    where = entry.target.unit or entry.target.cgroup
    value = "?" if result.new is None else spell_line(result.property, result.new)
    text = f"{where}: {BY_PROPERTY[result.property].name} → {value} {'restored' if done else 'NOT fully restored'}"
    journal.log(
        messages.LIMIT_RESTORED if done else messages.RESTORE_INCOMPLETE,
        f"{text}: {result.detail}" if result.detail else text,
        OBJECT_SYSTEMD_UNIT=entry.target.unit,
        GOVERNOR_PROPERTY=result.property,
        GOVERNOR_NEW=value,
        GOVERNOR_SOURCE=result.source,
    )


if __name__ == "__main__":
    sys.exit(main())
