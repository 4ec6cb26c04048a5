"""From windows to a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.idle.windows import EVERY, SAME
from benchmarks.report import median, number, ratio, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.idle.windows import Memory, Window

HEAD: Final = (
    *("containers", "governor CPU-s/min", "reader of same files", "reader of every file"),
    *("governor : same", "governor : every", "RSS MiB", "peak MiB"),
)


@dataclass(frozen=True)
class Row:
    """What all windows with so many containers come to: medians of CPU seconds a minute, ratios, memory in MiB."""

    containers: int
    daemon_cpu: float | None
    same_cpu: float | None
    every_cpu: float | None
    same_files: int
    every_files: int
    same_ratio: float | None
    every_ratio: float | None
    rss_mib: float
    peak_mib: float


def rows(windows: Sequence[Window], memories: Sequence[Memory]) -> list[Row]:
    """Return one row for each number of containers."""
    return [_row([window for window in windows if window.containers == held.containers], held) for held in memories]


def shown(found: Sequence[Row]) -> str:
    """Return the table."""
    return table(HEAD, map(_cells, found))


def as_json(found: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows as JSON has them."""
    return [asdict(row) for row in found]


def _row(windows: Sequence[Window], held: Memory) -> Row:
    daemon = median(window.daemon_cpu for window in windows)
    same, every = _reader_cpu(windows, SAME), _reader_cpu(windows, EVERY)
    return Row(
        containers=held.containers,
        daemon_cpu=daemon,
        same_cpu=same,
        every_cpu=every,
        same_files=_files(windows, SAME),
        every_files=_files(windows, EVERY),
        same_ratio=ratio(daemon, same),
        every_ratio=ratio(daemon, every),
        rss_mib=held.rss_mib,
        peak_mib=held.peak_mib,
    )


def _reader_cpu(windows: Sequence[Window], reader: str) -> float | None:
    return median(window.reader_cpu for window in windows if window.reader == reader)


def _files(windows: Sequence[Window], reader: str) -> int:
    return max((window.files for window in windows if window.reader == reader), default=0)


def _cells(row: Row) -> list[str]:
    same = f"{number(row.same_cpu, 2)} ({row.same_files} files)"
    every = f"{number(row.every_cpu, 2)} ({row.every_files} files)"
    ratios = [number(row.same_ratio), number(row.every_ratio)]
    memory = [number(row.rss_mib), number(row.peak_mib)]
    return [str(row.containers), number(row.daemon_cpu, 2), same, every, *ratios, *memory]
