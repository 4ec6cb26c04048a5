"""The picture: how much of the batch work is kept, beside how much longer the service's slowest requests take."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from benchmarks.contention.results import AIM_KEPT, AIM_RATIO
from benchmarks.contention.turns import STEADY
from benchmarks.contention.ways import GOVERNOR, SOLO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.contention.results import Row

INK: Final = "#5b6b7b"
OURS: Final = "#1f7a4d"
AIM: Final = "#d9efe3"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a picture with one panel for each antagonist; its ending says which format."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    steady = [row for row in rows if row.pattern == STEADY and row.way != SOLO]
    antagonists = list(dict.fromkeys(row.antagonist for row in steady))
    figure, panels = pyplot.subplots(
        1, len(antagonists), figsize=(4.2 * len(antagonists), 4), squeeze=False, layout="constrained"
    )
    for panel, antagonist in zip(panels[0], antagonists, strict=True):
        _panel(panel, antagonist, [row for row in steady if row.antagonist == antagonist])
    figure.supxlabel("batch work kept, of alone")
    figure.supylabel("p99 of the service : solo")
    figure.savefig(path)


def _panel(panel: Any, antagonist: str, rows: Sequence[Row]) -> None:
    panel.set_title(f"{antagonist} antagonist")
    panel.set_yscale("log")
    panel.set_xlim(-0.05, 1.1)
    panel.axhline(AIM_RATIO, color=INK, linewidth=0.6, linestyle=":")
    panel.fill_between([AIM_KEPT[antagonist], 1.1], 0.5, AIM_RATIO, color=AIM)
    for row in rows:
        if row.slowed is None or row.kept is None:
            continue
        colour = OURS if row.way == GOVERNOR else INK
        panel.plot(row.kept, row.slowed, "o", color=colour)
        panel.annotate(row.way, (row.kept, row.slowed), xytext=(4, 4), textcoords="offset points", color=colour)
