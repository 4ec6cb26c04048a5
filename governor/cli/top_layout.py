"""How the rows of `top` become lines of a terminal: which columns a width has room for, and what is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from governor.cli import output
from governor.cli.output import columns
from governor.cli.top_rows import Row, amount, number, percent, sparkline
from governor.model.text import ELLIPSIS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.model.signal import Sample

_BUSY_CORES: Final = 0.1
_BUSY_PRESSURE: Final = 0.05
"""What a full bar stands for at least: below it, noise would look like load."""
_SPARK: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `rank` says which stay where there is little room: the lowest first. `grows` takes what is left."""

    title: str
    width: int
    rank: int
    of: Callable[[Row, int], str]
    left: bool = False
    grows: bool = False


def table_columns(*, ascii_only: bool = False) -> tuple[Column, ...]:
    """Return all columns, in their order."""

    def bars(values: Callable[[Row], Sequence[float]], least: float) -> Callable[[Row, int], str]:
        return lambda row, width: sparkline(values(row), width, least, ascii_only=ascii_only)

    return (
        Column("NAME", 14, 0, lambda row, _: output.name(row.name), left=True, grows=True),
        Column("RUNTIME", 8, 6, lambda row, _: output.name(row.container.runtime), left=True),
        Column("CPU", 5, 0, lambda row, _: number(row.cpu)),
        Column("", _SPARK, 4, bars(lambda row: row.cpu_past, _BUSY_CORES), left=True),
        Column("MEM", 5, 0, lambda row, _: amount(row.memory)),
        Column("LIMIT", 5, 2, lambda row, _: amount(row.memory_limit)),
        Column("IO/s", 5, 2, lambda row, _: amount(row.io)),
        Column("PSI:C", 5, 1, lambda row, _: percent(row.pressure[0])),
        Column("M", 3, 1, lambda row, _: percent(row.pressure[1])),
        Column("I", 3, 1, lambda row, _: percent(row.pressure[2])),
        Column("", _SPARK, 5, bars(lambda row: row.pressure_past, _BUSY_PRESSURE), left=True),
        Column("THR", 3, 3, lambda row, _: percent(row.throttled)),
        Column("LIMITS", 24, 7, lambda row, _: held_words(row), left=True, grows=True),
    )


def held_words(row: Row) -> str:
    """Return a row's limits, each with who set it."""
    return output.safe(", ".join(f"{one.words} ({one.source})" for one in row.held)) or "-"


def chosen(all_columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """Return the columns that `width` has room for, each with its width; what is left goes to those that grow."""
    taken: list[Column] = []
    for column in sorted(all_columns, key=lambda one: one.rank):
        if sum(one.width + 1 for one in [*taken, column]) - 1 <= width or not taken:
            taken.append(column)
    kept = [column for column in all_columns if column in taken]
    left = max(0, width - sum(column.width + 1 for column in kept) + 1)
    growing = [column for column in kept if column.grows]
    # limits need the room most: names end soon
    shares = {column.title: left if len(growing) == 1 else left // 4 for column in growing}
    if len(growing) > 1:
        shares[growing[-1].title] = left - left // 4
    return [(column, min(width, column.width + shares.get(column.title, 0))) for column in kept]


def lines(rows: Sequence[Row], all_columns: Sequence[Column], width: int) -> list[str]:
    """Return the header and one line a row, none wider than `width`."""
    layout = chosen(all_columns, width)
    table = [_line([(column.title, column, room) for column, room in layout])]
    table += [_line([(column.of(row, room), column, room) for column, room in layout]) for row in rows]
    return [fit(line, width).rstrip() for line in table]


def fit(text: str, width: int, *, left: bool = True) -> str:
    """Return `text` in exactly `width` columns of a terminal: padded, or cut with an ellipsis."""
    taken = columns(text)
    if taken <= width:
        return text + " " * (width - taken) if left else " " * (width - taken) + text
    kept, room = "", width - 1
    for character in text:
        room -= columns(character)
        if room < 0:
            break
        kept += character
    return fit(kept + ELLIPSIS, width, left=left) if width > 0 else ""


def heading(host: Sample, count: int, by: str, width: int) -> str:
    """Return the line about the host and the order."""
    usage, capacity = host.get("host.cpu.usage"), host.get("host.cpu.capacity")
    total, available = host.get("host.memory.total"), host.get("host.memory.available")
    used = None if total is None or available is None else total - available
    pressures = "/".join(percent(host.get(f"host.pressure.{resource}.some")) for resource in ("cpu", "memory", "io"))
    text = (
        f"{count} containers  CPU {number(usage)} of {'-' if capacity is None else f'{capacity:g}'}"
        f"  memory {amount(used)} of {amount(total)}  PSI {pressures} %  by {by}"
    )
    return fit(text, width)


def details(row: Row, width: int, height: int) -> list[str]:
    """Return all that is known of the limits of one row, in at most `height` lines."""
    title = f"{output.name(row.name)}: " + ("no limit is set" if not row.held else "limits")
    found = [title, *(f"  {output.safe(one.words)}  set by {output.safe(one.source)}" for one in row.held)]
    if len(found) > height > 0:
        found = [
            *found[: height - 1],
            f"  … {len(found) - height + 1} more: governorctl explain {row.container.id[:12]}",
        ]
    return [fit(line, width).rstrip() for line in found[:height]]


def _line(cells: Sequence[tuple[str, Column, int]]) -> str:
    return " ".join(fit(text, room, left=column.left) for text, column, room in cells)
