"""Take back every write of an entry: on stop, after a crash, when a policy or the container itself is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from governor.actuators.apply import Circumstances, Result
from governor.actuators.drop_ins import without
from governor.actuators.sites import BURST
from governor.actuators.writers import FileWriter, Site, UnitWriter
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.lease import Hold, TargetKind
from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from governor.actuators.apply import Applier
    from governor.actuators.drop_ins import DropIns
    from governor.actuators.ledger import Entry, Ledger
    from governor.actuators.writers import Writer
    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import Cgroup, CgroupRoot
    from governor.kernel.host import Host

PATIENCE_SEC = 10.0
"""How long memory is reclaimed so that a smaller original can come back without a kill."""

AT_ONCE = 16


class Restorer:
    """Restores entries of the ledger without knowing their containers."""

    def __init__(
        self,
        *,
        root: CgroupRoot,
        host: Host,
        ledger: Ledger,
        applier: Applier,
        drop_ins: DropIns,
        manager: Callable[[int | None], Awaitable[Systemd]],
    ) -> None:
        self._root = root
        self._host = host
        self._ledger = ledger
        self._applier = applier
        self._drop_ins = drop_ins
        self._manager = manager
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def restore(self, entries: Iterable[Entry]) -> list[tuple[Entry, Result]]:
        """Return what became of every lease in `entries`; what could not be restored is FAILED or CONVERGING.

        A burst shrinks before the quotas and grows after them: the kernel takes none above its quota.
        """
        shrinking, others, growing = _by_burst(entries)
        results: list[tuple[Entry, Result]] = []
        for group in (shrinking, others, growing):
            done = await asyncio.gather(*(self._restore(entry) for entry in group))
            results += [(entry, result) for entry, found in zip(group, done, strict=True) for result in found]
        return results

    async def _restore(self, entry: Entry) -> list[Result]:
        async with self._slots:
            try:
                cgroup = self._open(entry)
            except Gone:
                return await self._retire(entry)
            try:
                return await self._apply(entry, cgroup)
            except Gone:
                return await self._retire(entry)
            except (ActuationError, Unsupported) as error:
                return [_failure(entry, name, str(error)) for name in entry.leases]
            finally:
                cgroup.close()

    async def _apply(self, entry: Entry, cgroup: Cgroup) -> list[Result]:
        writer: Writer = FileWriter(self._host)
        if entry.target.kind is not TargetKind.FILE:
            writer = UnitWriter(await self._manager(entry.target.user), self._host)
        site = Site(entry.target, cgroup)
        return await self._applier.apply(site, writer, {}, Circumstances(patience_sec=PATIENCE_SEC))

    def _open(self, entry: Entry) -> Cgroup:
        cgroup = self._root.open(entry.target.cgroup)
        if entry.target.kind is not TargetKind.PERSISTENT_UNIT and cgroup.inode != entry.target.inode:
            cgroup.close()
            raise Gone(f"{entry.target.cgroup!r} is another cgroup by now")
        return cgroup

    async def _retire(self, entry: Entry) -> list[Result]:
        """End the leases of a target without a cgroup: only the drop-ins of a persistent unit outlive it."""
        held = [name for name, lease in entry.leases.items() if lease.hold is Hold.HELD]
        if entry.target.kind is TargetKind.PERSISTENT_UNIT and held:
            try:
                await self._drop_ins.remove(entry, held)
            except ActuationError as error:
                return [_failure(entry, name, str(error)) for name in held]
        self._ledger.put(without(entry, entry.leases))
        self._applier.forget(entry.target.key)
        return []


def _by_burst(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry], list[Entry]]:
    shrinking: list[Entry] = []
    others: list[Entry] = []
    growing: list[Entry] = []
    for entry in entries:
        lease = entry.leases.get(BURST)
        if lease is None or len(entry.leases) > 1:
            others.append(entry)
        elif isinstance(lease.original, int) and isinstance(lease.intended, int) and lease.original < lease.intended:
            shrinking.append(entry)
        else:
            growing.append(entry)
    return shrinking, others, growing


def _failure(entry: Entry, name: str, why: str) -> Result:
    lease = entry.leases[name]
    return Result(
        property=name,
        old=lease.applied,
        new=lease.original,
        outcome=Outcome.FAILED,
        source=lease.owner,
        reason="restoring",
        detail=why,
    )
