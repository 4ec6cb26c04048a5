"""What was given back of the cold part, and how much longer a unit of work took than in the twin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from benchmarks.memory.twins import AGAIN, GOVERNED, HOT_PERCENT, MEGABYTES, NOTHING
from benchmarks.report import median, number, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.memory.twins import Look

COLD_MIB: Final = MEGABYTES * (100 - HOT_PERCENT) / 100
AIM_GIVEN: Final = 0.6
"""Of the cold part."""
AIM_SLOWER: Final = 0.05
HEAD: Final = (
    *("memory", "swap", "cold MiB", "given back MiB", "of cold", "60 % after s"),
    *("slower, governed", "slower, nothing again", "slower in worst part"),
)


@dataclass(frozen=True)
class Row:
    """One kind of memory. Slower is how much longer a unit took than in the twin, both against the time before."""

    kind: str
    swap: str
    cold_mib: float
    given_mib: float
    given: float
    reached_sec: float | None
    slower: float
    slower_again: float
    slower_worst: float


def row(kind: str, swap: str, before: Sequence[Look], after: Sequence[Look]) -> Row:
    """Return what looks from before and after the policy come to."""
    own = [look for look in after if (look.kind, look.role) == (kind, GOVERNED)]
    had = own[0].current_bytes
    given = (had - own[-1].current_bytes) / 2**20
    goal = had - AIM_GIVEN * COLD_MIB * 2**20
    reached = next((look.seconds - own[0].seconds for look in own if look.current_bytes <= goal), None)
    return Row(
        kind=kind,
        swap=swap,
        cold_mib=COLD_MIB,
        given_mib=given,
        given=given / COLD_MIB,
        reached_sec=reached,
        slower=_slower(kind, GOVERNED, before, after),
        slower_again=_slower(kind, AGAIN, before, after),
        slower_worst=_worst(kind, before, after),
    )


def _slower(kind: str, role: str, before: Sequence[Look], after: Sequence[Look]) -> float:
    """Return by which ratio a unit takes longer than in the twin to which nothing is done."""
    change = _usec(kind, role, after) / _usec(kind, role, before)
    usual = _usec(kind, NOTHING, after) / _usec(kind, NOTHING, before)
    return change / usual - 1


def _worst(kind: str, before: Sequence[Look], after: Sequence[Look]) -> float:
    """Return the same of the worst of the parts between two looks."""
    times = sorted({look.seconds for look in after})
    parts = [[look for look in after if look.seconds in pair] for pair in pairwise(times)]
    return max(_slower(kind, GOVERNED, before, part) for part in parts)


def _usec(kind: str, role: str, looks: Sequence[Look]) -> float:
    """Return the mean time of a unit between two looks: the median of it, as others on the machine stop the guest."""
    own = [look for look in looks if (look.kind, look.role) == (kind, role)]
    means = [(b.busy_usec - a.busy_usec) / max(1, b.units - a.units) for a, b in pairwise(own)]
    return median(means) or 0.0


def shown(rows: Sequence[Row]) -> str:
    """Return the table and what it comes to."""
    return "\n\n".join([table(HEAD, map(_cells, rows)), *map(_verdict, rows)])


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows as JSON has them."""
    return [asdict(each) for each in rows]


def _cells(row: Row) -> list[str]:
    swap = row.swap if row.kind == "anon" else "-"
    amounts = [number(row.cold_mib, 0), number(row.given_mib, 0), number(row.given * 100, 0, " %")]
    slower = [number(value * 100, 1, " %") for value in (row.slower, row.slower_again, row.slower_worst)]
    return [row.kind, swap, *amounts, number(row.reached_sec, 0), *slower]


def _verdict(row: Row) -> str:
    given = "met" if row.given >= AIM_GIVEN else "NOT met"
    slower = "met" if row.slower <= AIM_SLOWER else "NOT met"
    aims = f"given back, at least {AIM_GIVEN:.0%}: {given}; slower, at most {AIM_SLOWER:.0%}: {slower}"
    return f"{row.kind}, {row.swap}: {aims}"
