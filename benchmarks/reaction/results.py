"""From runs to a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.reaction.contenders import NAMES
from benchmarks.reaction.runs import IMAGES
from benchmarks.report import median, number, percentile, ratio, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.reaction.runs import Run

REFERENCE: Final = "bare"
HEAD: Final = (
    *("runtime", "who", "runs", "exec p50 ms", "exec p99 ms"),
    *("p50 : bare", "p99 : bare", "scope p50 ms", "lost", "failed"),
)


@dataclass(frozen=True)
class Cell:
    """What all runs of one contender with one runtime come to; times in ms, ratios to the bare listener that waits.

    `lost` counts limits that did not come or did not stay, `failed` containers that did not start.
    """

    runtime: str
    contender: str
    runs: int
    exec_p50_ms: float | None
    exec_p99_ms: float | None
    p50_ratio: float | None
    p99_ratio: float | None
    scope_p50_ms: float | None
    lost: int
    failed: int


def cells(runs: Sequence[Run]) -> list[Cell]:
    """Return one cell for each runtime and contender."""
    return [_cell(runs, runtime, name) for runtime in IMAGES for name in NAMES]


def shown(found: Sequence[Cell]) -> str:
    """Return the table."""
    return table(HEAD, map(_row, found))


def as_rows(found: Sequence[Cell]) -> list[dict[str, object]]:
    """Return the cells as JSON has them."""
    return [asdict(cell) for cell in found]


def _cell(runs: Sequence[Run], runtime: str, name: str) -> Cell:
    mine = [run for run in runs if (run.runtime, run.contender) == (runtime, name)]
    times, bare = _times(runs, runtime, name), _times(runs, runtime, REFERENCE)
    return Cell(
        runtime=runtime,
        contender=name,
        runs=len(mine),
        exec_p50_ms=median(times),
        exec_p99_ms=percentile(times, 99),
        p50_ratio=ratio(median(times), median(bare)),
        p99_ratio=ratio(percentile(times, 99), percentile(bare, 99)),
        scope_p50_ms=median(run.from_scope_ms for run in mine if run.from_scope_ms is not None),
        lost=sum(run.started and not run.kept for run in mine),
        failed=sum(not run.started for run in mine),
    )


def _times(runs: Sequence[Run], runtime: str, name: str) -> list[float]:
    return [
        run.from_exec_ms
        for run in runs
        if (run.runtime, run.contender) == (runtime, name) and run.from_exec_ms is not None
    ]


def _row(cell: Cell) -> list[str]:
    times = [number(cell.exec_p50_ms), number(cell.exec_p99_ms)]
    ratios = [number(cell.p50_ratio, 2), number(cell.p99_ratio, 2)]
    counts = [str(cell.lost), str(cell.failed)]
    return [cell.runtime, cell.contender, str(cell.runs), *times, *ratios, number(cell.scope_p50_ms), *counts]
