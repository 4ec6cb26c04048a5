"""Waits until a container's own program runs: until then its cgroup is its runtime's."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from governor.kernel import process
from governor.model.errors import Gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.actuators.enforce import Enforcer
    from governor.model.container import Container
    from governor.service.record import Record

PREPARE_EVERY = 3
"""Looks from one preparation to the next."""
SETTLE_LIMIT_SEC = 60.0
"""A payload that calls itself like a runtime's init delays its own limits by this much."""


async def started(container: Callable[[], Container | None], record: Record, enforcer: Enforcer) -> None:
    """Return once the payload runs, the container has ended, or a minute has passed.

    A write before that would have systemd attach its device program anew, and runc fails to start a container whose
    program changes between its look and its own replacement (BPF_F_REPLACE of one that is gone: ENOENT). The time is
    used to find out what the first write will need.
    """
    preparing: asyncio.Task[None] | None = None
    pauses = itertools.chain(itertools.repeat(0.01, 200), itertools.repeat(0.05, 200), itertools.repeat(0.25))
    for number, pause in enumerate(pauses):
        found = container()
        if found is None or _settled(found, record, enforcer):
            return
        # again and again, beside the waiting: a runtime sets its unit up in several steps
        if number % PREPARE_EVERY == 0 and (preparing is None or preparing.done()):
            preparing = asyncio.create_task(enforcer.prepare(found))
        await asyncio.sleep(pause)


def _settled(container: Container, record: Record, enforcer: Enforcer) -> bool:
    """Return whether the payload runs, as of before the coming read: what the runtime wrote is then all there."""
    if record.settled or time.monotonic() - record.since > SETTLE_LIMIT_SEC:
        return True
    if container.runtime == "systemd":
        return True
    try:
        return process.payload_started(enforcer.hold(container).scope) is True
    except Gone:
        return True
