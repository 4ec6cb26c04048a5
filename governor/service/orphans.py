"""Leases without a container: it ended while nobody looked, or its policy went while we were away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.model.lease import TargetKind
from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.actuators.enforce import Enforcer
    from governor.actuators.ledger import Entry, Ledger
    from governor.actuators.restore import Restorer
    from governor.model.container import Container


class Orphans:
    """Takes back what no known container accounts for. `relevant` is Discovery's: whether policies name a unit."""

    def __init__(self, ledger: Ledger, restorer: Restorer, enforcer: Enforcer, relevant: Callable[[str], bool]) -> None:
        self._ledger = ledger
        self._restorer = restorer
        self._enforcer = enforcer
        self._relevant = relevant

    async def restore(self, containers: tuple[Container, ...]) -> list[str]:
        """Restore every orphan; return in words what could not be."""
        known = {target.key for container in containers for target in self._enforcer.targets_of(container)}
        orphans = [entry for entry in self._ledger.entries() if entry.target.key not in known]
        results = await self._restorer.restore(entry for entry in orphans if not self._waits(entry))
        return [
            f"{entry.target.unit or entry.target.cgroup}: {result.property}: {result.detail}"
            for entry, result in results
            if result.outcome is Outcome.FAILED
        ]

    def _waits(self, entry: Entry) -> bool:
        """Return whether `entry` is of a persistent unit that policies still name: it is down, and will be back."""
        return entry.target.kind is TargetKind.PERSISTENT_UNIT and self._relevant(entry.target.cgroup)
