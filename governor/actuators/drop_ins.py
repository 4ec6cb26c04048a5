"""Restoring a persistent unit: our drop-in goes, what stood there before comes back, one daemon-reload for all.

Explicit originals would do harm here: they would hide what an administrator writes into the unit's file afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from governor.actuators.writers import read_back
from governor.bus.units import runtime_drop_in_path
from governor.model.directives import BY_PROPERTY
from governor.model.errors import ActuationError
from governor.model.lease import TargetKind
from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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

    def __init__(self, systemd: Systemd, root: Path = Path("/")) -> None:
        self._systemd = systemd
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

    async def restore(self, site: Site, writer: Writer, entry: Entry, moves: Mapping[str, Move]) -> dict[str, Outcome]:
        """Return RESTORED for every property in `moves` whose original the kernel shows again, else FAILED.

        An original that the administrator has changed meanwhile comes back as it is now: that is RESTORED too.
        """
        if not moves:
            return {}
        await self.remove(entry, moves)
        expected = {name: move.lease.original for name, move in moves.items() if move.lease is not None}
        found = await read_back(writer, site, expected)
        ours = {name: move.lease.applied for name, move in moves.items() if move.lease is not None}
        return {
            name: Outcome.FAILED if found.get(name) == ours[name] != expected[name] else Outcome.RESTORED
            for name in expected
        }

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
