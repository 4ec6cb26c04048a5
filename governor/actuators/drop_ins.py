"""Restoring a persistent unit: our drop-in goes, what stood there before comes back, one daemon-reload for all.

Explicit originals alone would do harm: as a drop-in they hide what an administrator writes into the unit's file later.
So they are set, for the kernel's sake, and then their drop-ins are taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from governor.actuators.writers import FileWriter
from governor.bus.units import runtime_drop_in_path
from governor.kernel import limits
from governor.model.directives import BY_PROPERTY
from governor.model.errors import ActuationError
from governor.model.lease import TargetKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from governor.actuators.decide import Move
    from governor.actuators.ledger import Entry
    from governor.actuators.writers import Site, Writer
    from governor.bus.systemd import Systemd
    from governor.model.lease import Target

BATCH_SEC = 0.05
"""Restores within this time share one daemon-reload: on a large host one reload takes a second of PID 1."""

FILE_LIMIT_BYTES = 65536


class DropIns:
    """The runtime drop-ins beneath `root` that SetUnitProperties(runtime=true) writes for persistent units."""

    def __init__(self, systemd: Systemd, host: limits.Host, root: Path = Path("/")) -> None:
        self._systemd = systemd
        self._host = host
        self._files = FileWriter(host)
        self._root = root
        self._reload: asyncio.Task[None] | None = None

    def remember(self, target: Target, entry: Entry, moves: Mapping[str, Move]) -> dict[str, str]:
        """Return the entry's drop-ins with the text of those that stand there now and are about to be ours."""
        kept = dict(entry.drop_ins)
        if target.kind is not TargetKind.PERSISTENT_UNIT:
            return kept
        for name, move in moves.items():
            if move.lease is not None and name not in entry.leases and name in BY_PROPERTY:
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    kept[name] = self._path(target, name).read_text()[:FILE_LIMIT_BYTES]
        return {name: text for name, text in kept.items() if name in entry.leases or name in moves}

    async def restore(self, site: Site, writer: Writer, entry: Entry, properties: Sequence[str]) -> None:
        """Take away the drop-ins of `properties`, whose originals have just been set. Raises Gone, ActuationError.

        systemd reads the units anew but leaves the cgroup as it is. Where the unit's file says something else by now,
        the kernel gets that: it is what the administrator wants.
        """
        if not properties:
            return
        await self.remove(entry, properties)
        kernel = limits.read_limits(site.cgroup, self._host, properties)
        believed = await writer.believed(site, properties)
        edited = {name: value for name, value in believed.items() if name in kernel and kernel[name] != value}
        if edited:
            await self._files.write(site, edited)

    async def remove(self, entry: Entry, properties: Iterable[str]) -> None:
        """Put back or delete the files of `properties`, and have systemd read its units anew. Raises ActuationError."""
        try:
            for name in properties:
                self._put_back(entry, name)
        except OSError as error:
            raise ActuationError(f"drop-in of {entry.target.unit!r}: {error}") from error
        await self._reloaded()

    def _put_back(self, entry: Entry, name: str) -> None:
        path = self._path(entry.target, name)
        if name in entry.drop_ins:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(entry.drop_ins[name])
            return
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: somebody else's drop-ins are there
            path.parent.rmdir()

    async def _reloaded(self) -> None:
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._reload_soon())
        await self._reload

    async def _reload_soon(self) -> None:
        await asyncio.sleep(BATCH_SEC)
        # whoever asks from here on has deleted a file that this reload may not see: it gets one of its own
        self._reload = None
        await self._systemd.reload()

    def _path(self, target: Target, name: str) -> Path:
        return self._root / runtime_drop_in_path(target.unit, name).lstrip("/")


def without(entry: Entry, properties: Iterable[str]) -> Entry:
    """Return `entry` without the leases on `properties`."""
    gone = set(properties)
    return replace(entry, leases={name: lease for name, lease in entry.leases.items() if name not in gone})
