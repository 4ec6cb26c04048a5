"""What memory-probe reads of one container in one tick, and the floors that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from governor.controllers._written import number
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from governor.model.control import Member
    from governor.model.signal import Sample

MIB: Final = 1024 * 1024

_PRESSURES: Final = tuple(f"pressure.{what}.some_avg{span}" for what in ("memory", "io") for span in (10, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """One tick of one container. Rates are pages a second."""

    current_bytes: int
    unreclaimable_bytes: int
    protected_bytes: int
    """The larger of MemoryMin and MemoryLow: the kernel would not take it, or not gladly."""
    pressure: float
    """The worst of the 10 s and 60 s averages of memory and IO, `some`."""
    pressure_now: float
    """The worst of the 10 s averages."""
    stall: float
    """Share of this tick in which a task waited for memory; the 10 s average where that is absent."""
    high_events: float
    scan: float
    steal: float
    back: float
    """Pages that were taken and needed again."""


def sense_of(member: Member) -> Sense | None:
    """Return what was read; None where a part of it is absent, and so nothing may be concluded."""
    get = member.sample.get
    current, unreclaimable = get("memory.current"), get("memory.unreclaimable")
    pressures = [value for value in map(get, _PRESSURES) if value is not None]
    scan, steal, back = get("memory.scan"), get("memory.steal"), _back(member.sample)
    if current is None or unreclaimable is None or scan is None or steal is None or back is None:
        return None
    if len(pressures) < len(_PRESSURES):
        return None
    return Sense(
        current_bytes=int(current),
        unreclaimable_bytes=int(unreclaimable),
        protected_bytes=_protected(member),
        pressure=max(pressures),
        pressure_now=max(pressures[::2]),
        stall=_first(get("pressure.memory.some"), pressures[0]),
        high_events=_first(get("memory.high_events"), 0.0),
        scan=scan,
        steal=steal,
        back=back,
    )


def _first(value: float | None, instead: float) -> float:
    return instead if value is None else value


def _back(sample: Sample) -> float | None:
    """Return how many pages a second came back that were in use; None where no counter is there.

    A swapped page that is read again was in use. A file page counts only where the kernel found it active: a file that
    is read from end to end comes back, too, whatever is taken. Without that counter, all file refaults count.
    """
    active, anon, file = (sample.get(f"memory.{name}") for name in ("activate", "refault_anon", "refault_file"))
    if active is None and file is not None:
        return file + (anon or 0.0)
    known = [value for value in (active, anon) if value is not None]
    return max(known) if known else None


def _protected(member: Member) -> int:
    found = [number(member.current, name) or 0 for name in ("MemoryMin", "MemoryLow")]
    return max(each for each in (*found, 0) if each != INFINITY)
