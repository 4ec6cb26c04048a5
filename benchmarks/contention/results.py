"""From turns to a table: latencies, how many times the p99 alone, which part of the batch work alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.contention.stage import CPU, IO, MEMORY
from benchmarks.contention.turns import STEADY
from benchmarks.contention.ways import ALONE, GOVERNOR, SOLO
from benchmarks.report import median, number, ratio, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.contention.stage import Window
    from benchmarks.contention.turns import Turn

AIM_RATIO: Final = 1.3
"""How many times its p99 alone the service's may be."""
AIM_KEPT: Final = {CPU: 0.86, MEMORY: 0.5, IO: 0.4}
"""Which part of its work alone the batch container shall keep."""
HEAD: Final = ("antagonist", "pattern", "way", "runs", "p50 ms", "p95 ms", "p99 ms", "p99 : solo", "usual", "work kept")


@dataclass(frozen=True)
class Row:
    """The medians of one way: latencies in µs, and ratios to solo and to batch alone within the same run."""

    antagonist: str
    pattern: str
    way: str
    runs: int
    p50: float | None
    p95: float | None
    p99: float | None
    slowed: float | None
    usually_slowed: float | None
    """The same of the p99 of the median second: others on the machine stop the guest now and then."""
    kept: float | None


def rows(turns: Sequence[Turn]) -> list[Row]:
    """Return one row for each antagonist, pattern and way, in the order in which they came."""
    keys = dict.fromkeys((turn.antagonist, turn.pattern, turn.way) for turn in turns if turn.way != ALONE)
    return [_row(turns, *key) for key in keys]


def _row(turns: Sequence[Turn], antagonist: str, pattern: str, way: str) -> Row:
    alike = [turn for turn in turns if (turn.antagonist, turn.pattern) == (antagonist, pattern)]
    mine = [turn for turn in alike if turn.way == way]
    return Row(
        antagonist=antagonist,
        pattern=pattern,
        way=way,
        runs=len(mine),
        p50=median(turn.window.p50 for turn in mine),
        p95=median(turn.window.p95 for turn in mine),
        p99=median(turn.window.p99 for turn in mine),
        slowed=_compared(mine, alike, SOLO, lambda window: window.p99),
        usually_slowed=_compared(mine, alike, SOLO, lambda window: window.usual_p99),
        kept=None if way == SOLO else _compared(mine, alike, ALONE, lambda window: window.work),
    )


def _compared(mine: Iterable[Turn], alike: Iterable[Turn], base: str, value: Callable[[Window], float]) -> float | None:
    """Return the median of the ratios to `base` in the same run: 0 where nothing was done at all."""
    bases = {turn.run: value(turn.window) for turn in alike if turn.way == base}
    pairs = [(value(turn.window), bases.get(turn.run)) for turn in mine]
    return median(found for ours, theirs in pairs if (found := _found(ours, theirs)) is not None)


def _found(ours: float, theirs: float | None) -> float | None:
    return 0.0 if not ours and theirs else ratio(ours, theirs)


def shown(found: Sequence[Row]) -> str:
    """Return the table and what it comes to."""
    return "\n\n".join([table(HEAD, map(_cells, found)), *filter(None, map(_verdict, found))])


def as_json(found: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows as JSON has them."""
    return [asdict(row) for row in found]


def _cells(row: Row) -> list[str]:
    times = [number(None if usec is None else usec / 1000, 2) for usec in (row.p50, row.p95, row.p99)]
    ratios = [number(value, 2) for value in (row.slowed, row.usually_slowed, row.kept)]
    return [row.antagonist, row.pattern, row.way, str(row.runs), *times, *ratios]


def _verdict(row: Row) -> str:
    """Return whether governor reached its aim."""
    if row.way != GOVERNOR or row.slowed is None or row.kept is None:
        return ""
    kept = AIM_KEPT[row.antagonist] if row.pattern == STEADY else 0.0
    met = row.slowed <= AIM_RATIO and row.kept >= kept
    aim = f"p99 within {AIM_RATIO} times solo" + (f", at least {kept} of the work" if kept else "")
    return f"{row.antagonist}, {row.pattern}: {'met' if met else 'NOT met'} ({aim})"
