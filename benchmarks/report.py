"""What all benchmarks share: order statistics, a table, a file of results, words about progress."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "build" / "bench"
STARTED: Final = time.monotonic()


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the smallest of `values` that `percent` of them do not exceed (nearest rank); None where there are none.

    With few values a high percentile is simply the largest: the table says how many there were.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def median(values: Iterable[float]) -> float | None:
    """Return the middle of `values`, or the mean of the two in the middle; None where there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Return how many times `theirs` `ours` is; None where either is missing or not positive."""
    return None if ours is None or theirs is None or min(ours, theirs) <= 0 else ours / theirs


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """Return a number as a table shows it: a dash for what was not measured."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned, so that it reads well in a terminal too."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(cells, widths) for cells in [lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def save(name: str, parameters: Mapping[str, Any], results: Any) -> Path:
    """Write build/bench/<name>.json with the conditions under which `results` came about; return its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({"conditions": conditions(), "parameters": dict(parameters), "results": results}, indent=2)
    path.write_text(f"{text}\n")
    return path


def conditions() -> dict[str, Any]:
    """Return what somebody must know to compare these results with others."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "host_cpus": os.cpu_count(),
        "host_load_1min": round(os.getloadavg()[0], 2),
        "host_kernel": platform.release(),
        "seconds": round(time.monotonic() - STARTED),
    }


def _commit() -> str:
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def say(words: str) -> None:
    """Tell on standard error what is going on, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.0f} s] {words}", file=sys.stderr, flush=True)


def show(name: str, path: Path, text: str, *, as_json: bool) -> None:
    """Print the results on standard output: the table and where the rest is, or the file itself."""
    if as_json:
        print(path.read_text(), end="")
    else:
        print(f"{name}\n\n{text}\n\nall values: {path.relative_to(ROOT)}")
