"""What governorctl prints: tables, JSON and colour. Whatever a container or a user chose goes through `printable`."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from governor.model.directives import BY_PROPERTY
from governor.model.text import NAME_LIMIT, printable
from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TEXT_LIMIT: Final = 400
"""Characters of a value, a reason or a label that a terminal gets to see; `--json` has them whole."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9]+m")
_STYLES: Final = {"bold": "1", "green": "32", "yellow": "33", "red": "31", "dim": "2"}


def colourful() -> bool:
    """Return whether standard output is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """Return `text` in `style` (bold, green, yellow, red, dim) where the terminal wants colour, else as it is."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colourful() else text


def safe(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return foreign `text` fit for one line of a terminal."""
    return printable(text, limit)


def name(text: str) -> str:
    """Return a foreign name fit for a terminal; a dash where there is none."""
    return printable(text, NAME_LIMIT) or "-"


def print_json(value: Any) -> None:
    """Print `value` as JSON, with all that is not ASCII escaped: nothing in it can steer a terminal."""
    import json  # noqa: PLC0415 - 6 ms that only --json pays

    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    """Return what JSON has no word for: bytes as numbers, the rest as text."""
    return list(value) if isinstance(value, (bytes, tuple, set, frozenset)) else str(value)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print `rows` aligned beneath `header`. Cells are shown as they are: escape foreign text before."""
    table = [tuple(row) for row in rows]
    widths = [max(map(columns, column)) for column in zip(header, *table, strict=True)]
    print(styled(_line(header, widths), "bold"))
    for row in table:
        print(_line(row, widths))


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print `fields` as `name: value`, the names aligned to the right as systemctl does."""
    shown = list(fields)
    width = max((columns(label) for label, _ in shown), default=0)
    for label, value in shown:
        print(f"{' ' * (width - columns(label))}{styled(label, 'bold')}: {value}")


def complain(text: str, advice: str = "") -> None:
    """Print a failure, and what to do about it, on standard error."""
    lines = "\n".join(printable(line, 2 * TEXT_LIMIT) for line in text.split("\n"))
    print(f"governorctl: {lines}", file=sys.stderr)
    if advice:
        print(f"governorctl: {advice}", file=sys.stderr)


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: wide characters two, combining ones and colour none."""
    text = _COLOUR.sub("", text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def directive(property_name: str) -> str:
    """Return what unit files and policies call a D-Bus property; an unknown one is shown as it is."""
    known = BY_PROPERTY.get(property_name)
    return known.name if known else name(property_name)


def moment(usec: int) -> str:
    """Return a time in µs since the epoch as local time to the second; a dash for 0 and for never."""
    if usec in (0, INFINITY):
        return "-"
    return datetime.fromtimestamp(usec / USEC_PER_SEC, tz=UTC).astimezone().isoformat(" ", "seconds")
