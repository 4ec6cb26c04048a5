"""Make one site's limits what is wanted: read, decide, enter in the ledger, write, read back, enter the result.

The ledger is written before the kernel and after it. A crash anywhere in between leaves an entry that names both the
value from before and the value that was on its way, and the original that the next process restores.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governor.actuators import room
from governor.actuators.decide import Move, Step, View, decide
from governor.actuators.writers import read_back
from governor.model.lease import TargetKind
from governor.model.tick import Outcome
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.actuators.drop_ins import DropIns
    from governor.actuators.ledger import Entry, Ledger
    from governor.actuators.room import Room
    from governor.actuators.writers import Site, Writer
    from governor.model.lease import Lease
    from governor.model.policy import Setting
    from governor.model.values import Value

PATIENCE_SEC = 1.0
"""How long one round reclaims before it sets what it has reached; restoring takes 10 s (the design's promise)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One property's canonical value, and the setting that asks for it."""

    value: Value
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of a site beyond its values; see decide.View."""

    settling: bool = False
    reverted: bool = False
    patience_sec: float = PATIENCE_SEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one property. `old` and `new` are canonical; None where there is none."""

    property: str
    old: Value | None
    new: Value | None
    outcome: Outcome
    source: str
    reason: str
    detail: str = ""


class Applier:
    """Applies wants to sites, one site at a time each. Sites of different targets may run side by side."""

    def __init__(self, ledger: Ledger, room: Room, drop_ins: DropIns) -> None:
        self._ledger = ledger
        self._room = room
        self._drop_ins = drop_ins
        self._locks: dict[str, asyncio.Lock] = {}

    async def apply(
        self, site: Site, writer: Writer, wants: Mapping[str, Want], circumstances: Circumstances
    ) -> list[Result]:
        """Return what became of every property that changed. Raises Gone; ActuationError where nothing was written."""
        lock = self._locks.setdefault(site.target.key, asyncio.Lock())
        async with lock:
            return await self._apply(site, writer, wants, circumstances)

    def forget(self, key: str) -> None:
        """Drop the lock of a target that ended."""
        self._locks.pop(key, None)

    async def _apply(
        self, site: Site, writer: Writer, wants: Mapping[str, Want], circumstances: Circumstances
    ) -> list[Result]:
        entry = self._ledger.get(site.target)
        properties = [*wants, *(name for name in entry.leases if name not in wants)]
        if not properties:
            return []
        current = await writer.read(site, properties)
        absent = [_absent(name, want) for name, want in wants.items() if name not in current]
        moves = await self._decide(site, writer, entry, wants, current, circumstances)
        unenforced = await writer.unenforced(site, current)
        moves = {name: move for name, move in moves.items() if not _idle(move, enforced=name not in unenforced)}
        if not moves:
            return absent
        moves, converging = await self._make_room(site, current, moves, circumstances.patience_sec)
        entry = self._enter(site, entry, moves)
        outcomes = await self._write(site, writer, entry, moves)
        self._settle(site, moves, outcomes)
        return absent + [
            _result(wants.get(name), current.get(name), move, outcomes[name], converging.get(name, ""))
            for name, move in moves.items()
            if move.step not in (Step.CONFIRM, Step.FORGET)
        ]

    async def _decide(
        self,
        site: Site,
        writer: Writer,
        entry: Entry,
        wants: Mapping[str, Want],
        current: Mapping[str, Value],
        circumstances: Circumstances,
    ) -> dict[str, Move]:
        fresh = {name: current[name] for name in current if name not in entry.leases or circumstances.settling}
        originals = await writer.originals(site, fresh) if fresh else {}
        now_usec = time.time_ns() // 1000
        return {
            name: decide(
                View(
                    property=name,
                    current=value,
                    want=wants[name].value if name in wants else None,
                    setting=wants[name].setting if name in wants else None,
                    lease=entry.leases.get(name),
                    restores=originals.get(name, value),
                    now_usec=now_usec,
                    settling=circumstances.settling,
                    reverted=circumstances.reverted,
                    persistent=site.target.kind is TargetKind.PERSISTENT_UNIT,
                    new_invocation=entry.target.invocation != site.target.invocation,
                )
            )
            for name, value in current.items()
        }

    async def _make_room(
        self, site: Site, current: Mapping[str, Value], moves: Mapping[str, Move], patience_sec: float
    ) -> tuple[dict[str, Move], dict[str, str]]:
        """Return `moves` with memory limits that can be set now, and in words what is still to come."""
        changed, words = dict(moves), {}
        for name in room.LIMITS:
            move = moves.get(name)
            if move is None or move.step not in (Step.WRITE, Step.RESTORE) or not _lowers(move.value, current[name]):
                continue
            assert isinstance(move.value, int)
            value = await self._room.lower(site, name, move.value, patience_sec)
            if value == move.value:
                continue
            words[name] = f"usage is still above {move.value} bytes: at {value} for now"
            assert move.lease is not None
            changed[name] = replace(move, lease=replace(move.lease, intended=value), value=value)
        return changed, words

    def _enter(self, site: Site, entry: Entry, moves: Mapping[str, Move]) -> Entry:
        leases = dict(entry.leases)
        for name, move in moves.items():
            if move.lease is None:
                leases.pop(name, None)
            else:
                leases[name] = move.lease
        kept = self._drop_ins.remember(site.target, entry, moves)
        entry = replace(entry, target=site.target, leases=leases, drop_ins=kept)
        self._ledger.put(entry)
        return entry

    async def _write(self, site: Site, writer: Writer, entry: Entry, moves: Mapping[str, Move]) -> dict[str, Outcome]:
        outcomes = {name: _quiet_outcome(move) for name, move in moves.items()}
        writable = {name: move.value for name, move in moves.items() if move.value is not None}
        writable = await self._held(site, writable, outcomes)
        if writable:
            expected = {name: move.lease.intended for name, move in moves.items() if name in writable and move.lease}
            await writer.write(site, writable)
            arrived = await read_back(writer, site, expected)
            for name in writable:
                outcomes[name] = _outcome(moves[name], arrived=name in arrived)
        if site.target.kind is TargetKind.PERSISTENT_UNIT:
            restored = [name for name, move in moves.items() if _reaches_original(move)]
            await self._drop_ins.restore(site, writer, entry, restored)
        return outcomes

    async def _held(self, site: Site, values: Mapping[str, Value], outcomes: dict[str, Outcome]) -> dict[str, Value]:
        """Return `values` without a MemoryHigh whose reclaim the kernel has not finished."""
        high = values.get("MemoryHigh")
        if not isinstance(high, int) or high == INFINITY or await self._room.hold(site, high):
            return dict(values)
        outcomes["MemoryHigh"] = Outcome.CONVERGING
        return {name: value for name, value in values.items() if name != "MemoryHigh"}

    def _settle(self, site: Site, moves: Mapping[str, Move], outcomes: Mapping[str, Outcome]) -> None:
        """Enter in the ledger what the kernel has confirmed."""
        entry = self._ledger.get(site.target)
        leases: dict[str, Lease] = dict(entry.leases)
        for name in moves:
            lease = leases.get(name)
            if lease is None:
                continue
            if outcomes[name] is Outcome.RESTORED and lease.intended == lease.original:
                del leases[name]
            elif outcomes[name] is Outcome.APPLIED:
                leases[name] = replace(lease, applied=lease.intended)
        self._ledger.put(replace(entry, leases=leases))


def _idle(move: Move, *, enforced: bool) -> bool:
    """Return whether there is nothing to do; what is not enforced is not entered as applied."""
    return move.step is Step.KEEP or (move.step is Step.CONFIRM and not enforced)


def _lowers(value: Value | None, current: Value) -> bool:
    return isinstance(value, int) and isinstance(current, int) and value < current


def _reaches_original(move: Move) -> bool:
    """Return whether `move` restores in full: memory that could not be reclaimed yet is restored in steps."""
    return move.step is Step.RESTORE and move.lease is not None and move.lease.intended == move.lease.original


def _quiet_outcome(move: Move) -> Outcome:
    return Outcome.YIELDED if move.step is Step.YIELD else Outcome.APPLIED


def _outcome(move: Move, *, arrived: bool) -> Outcome:
    if not arrived:
        return Outcome.FAILED
    return Outcome.RESTORED if move.step is Step.RESTORE else Outcome.APPLIED


def _result(want: Want | None, old: Value | None, move: Move, outcome: Outcome, converging: str) -> Result:
    lease = move.lease
    assert lease is not None
    new = old if move.step is Step.YIELD else lease.intended
    if converging and outcome is not Outcome.FAILED:
        outcome = Outcome.CONVERGING
    reason = want.setting.reason if want else "nothing asks for it any more"
    return Result(
        property=lease.property,
        old=lease.applied if move.step is Step.YIELD else old,
        new=new,
        outcome=outcome,
        source=want.setting.source if want else lease.owner,
        reason=reason,
        detail=converging or _detail(outcome),
    )


def _absent(name: str, want: Want) -> Result:
    return Result(
        property=name,
        old=None,
        new=want.value,
        outcome=Outcome.REFUSED,
        source=want.setting.source,
        reason=want.setting.reason,
        detail="its controller is off in this cgroup, or neither kernel nor systemd knows it",
    )


def _detail(outcome: Outcome) -> str:
    match outcome:
        case Outcome.YIELDED:
            return "changed by somebody else: left alone until release, a changed policy or a new start"
        case Outcome.FAILED:
            return "the kernel does not show the value that was written: tried again"
        case Outcome.CONVERGING:
            return "the kernel is still reclaiming"
        case _:
            return ""
