"""The picture of a simulation: per container, what it used beside its limits, how much it waited, and each action.

Drawn with matplotlib where that is installed; nothing else here needs it.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from governor.cli import output
from governor.cli.plot_panels import PANELS, WAIT
from governor.cli.words import deed
from governor.model.errors import ActuationError, Unsupported
from governor.model.step import StepKind
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from governor.cli.plot_panels import Line, Panel
    from governor.model.container import Container
    from governor.model.step import Step
    from governor.service.replay import Moment, Replay

SUFFIXES: Final = (".svg", ".png", ".pdf")
MOST_CONTAINERS: Final = 8
"""More than these make a picture that nobody can read: --container chooses."""
_INK, _GRID = "#2b2f36", "#e3e6ea"
_MARKS: Final[Mapping[StepKind, tuple[str, str]]] = {
    StepKind.DECIDED: ("v", "#1f7a4d"),
    StepKind.RECOMMENDED: ("d", "#5b6b7b"),
    StepKind.EXPIRED: ("^", "#8a5bb5"),
    StepKind.UNDONE: ("X", "#c23b3b"),
    StepKind.BUDGET: ("s", "#b8860b"),
    StepKind.FAILED: ("X", "#c23b3b"),
}


@dataclass(slots=True)
class _Series:
    times: list[int] = field(default_factory=list)
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)


class Drawing:
    """Collects what is drawn, moment by moment."""

    def __init__(self) -> None:
        self._series: dict[int, _Series] = {}
        self._steps: list[Step] = []

    def add(self, moment: Moment) -> None:
        """Take one tick in."""
        self._steps += moment.steps
        for inode, recorded in moment.frame.containers.items():
            series = self._series.setdefault(inode, _Series())
            series.times.append(moment.frame.time_usec)
            for panel in PANELS:
                for line in (*panel.usage, *panel.waits):
                    values = series.values.setdefault((panel.title, line.label), [])
                    values.append(line.of(recorded, moment.limits.get(inode, {})))

    def write(self, path: Path, replay: Replay, chosen: frozenset[int]) -> None:
        """Draw the `chosen` containers into `path`. Raises Unsupported without matplotlib, ActuationError."""
        inodes = self._shown(replay, chosen)
        if not inodes:
            raise ActuationError("there is nothing to draw: no container of the recording is under a policy")
        panels = [(inode, panel) for inode in inodes for panel in PANELS if self._has(inode, panel)]
        figure = _figure(len(panels))
        figure.suptitle(_heading(replay, inodes), fontsize=9, color=_INK, x=0.01, ha="left", parse_math=False)
        for index, (inode, panel) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, index + 1)
            self._draw(axes, replay, inode, panel)
        _save(figure, path)

    def _shown(self, replay: Replay, chosen: frozenset[int]) -> list[int]:
        """Return the inodes to draw: those on which most was done first, and none that no policy is for."""
        counts = {inode: sum(step.inode == inode for step in self._steps) for inode in chosen}
        under = [inode for inode in chosen if replay.merged[inode].policies] or sorted(chosen)[:1]
        under.sort(key=lambda inode: (-counts[inode], _title(replay.seen[inode])))
        if len(under) > MOST_CONTAINERS:
            output.complain(f"{MOST_CONTAINERS} of {len(under)} containers are drawn; --container chooses another")
        return under[:MOST_CONTAINERS]

    def _has(self, inode: int, panel: Panel) -> bool:
        """Return whether there is anything to see: the container's first panel is always drawn."""
        if panel is PANELS[0] or self._marks(inode, panel):
            return True
        values = self._series[inode].values
        return any(value > 0 for line in panel.usage for value in values[panel.title, line.label])

    def _marks(self, inode: int, panel: Panel) -> list[Step]:
        """Return the steps that are marked in `panel`; what moves no limit of any panel is marked in the first."""
        elsewhere = {name for other in PANELS if other is not panel for name in other.properties}
        memory = panel.title == "Memory"
        return [
            step
            for step in self._steps
            if step.inode == inode
            and step.kind in _MARKS
            and (
                any(name in panel.properties for name in step.limits)
                or (step.act is not None and memory)
                or (not step.limits and step.act is None and panel is PANELS[0])
                or (panel is PANELS[0] and bool(step.limits) and not elsewhere.intersection(step.limits))
            )
        ]

    def _draw(self, axes: Any, replay: Replay, inode: int, panel: Panel) -> None:
        series = self._series[inode]
        times = [_moment(replay, usec) for usec in series.times]
        waits = axes.twinx()
        drawn = [
            *_lines(axes, times, series, panel, panel.usage),
            *_lines(waits, times, series, panel, panel.waits, width=1.0),
        ]
        drawn += _marked(axes, replay, self._marks(inode, panel))
        _dress(axes, waits, f"{_title(replay.seen[inode])}: {panel.title}", panel.unit)
        waits.legend(handles=drawn, loc="upper left", bbox_to_anchor=(1.06, 1.03), frameon=False, fontsize=8)


def require(path: Path) -> None:
    """Raise Unsupported where `path` cannot be drawn: matplotlib is not installed, or it is no picture's name."""
    if path.suffix not in SUFFIXES:
        raise Unsupported(f"--plot draws {', '.join(SUFFIXES)}, not {path.suffix or path.name!r}")
    _matplotlib("figure")


def _matplotlib(module: str) -> Any:
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise Unsupported("--plot needs matplotlib: sudo apt install python3-matplotlib") from error


def _figure(panels: int) -> Any:
    """Return an empty figure without pyplot: no window system is asked for, whatever the user's settings say."""
    return _matplotlib("figure").Figure(figsize=(11, 2.6 * panels + 0.4), layout="constrained", facecolor="white")


def _save(figure: Any, path: Path) -> None:
    rc_context = importlib.import_module("matplotlib").rc_context
    try:
        with rc_context({"svg.hashsalt": "governor", "text.usetex": False}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks: drawn as boxes
            figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as error:
        raise ActuationError(f"cannot write {path}: {error.strerror}") from error


def _lines(
    axes: Any, times: list[datetime], series: _Series, panel: Panel, lines: tuple[Line, ...], width: float = 1.6
) -> list[Any]:
    """Draw what has any value, and return what goes into the legend."""
    drawn = []
    for line in lines:
        values = series.values[panel.title, line.label]
        if all(value != value for value in values):  # noqa: PLR0124 - only NaN differs from itself
            continue
        # a limit holds until it is moved: a slope between two values would show what never was
        style = {"drawstyle": "steps-post"} if line.style in ("--", "-.") else {}
        drawn += axes.plot(times, values, line.style, color=line.colour, lw=width, label=line.label, **style)
    return drawn


def _marked(axes: Any, replay: Replay, steps: list[Step]) -> list[Any]:
    """Mark each step at the upper edge, one colour and form for each kind."""
    found = []
    for kind, (mark, colour) in _MARKS.items():
        times = [_moment(replay, step.time_usec) for step in steps if step.kind is kind]
        if not times:
            continue
        for moment in times:
            axes.axvline(moment, color=colour, lw=0.6, alpha=0.35)
        at = axes.get_xaxis_transform()
        label = _counted(kind, steps)
        found += axes.plot(
            times, [0.97] * len(times), mark, color=colour, ms=5, ls="none", transform=at, label=label, clip_on=False
        )
    return found


def _counted(kind: StepKind, steps: list[Step]) -> str:
    """Return what the legend says of the steps of one kind; of a single one, what it did."""
    mine = [step for step in steps if step.kind is kind]
    words = deed(mine[0]) if len(mine) == 1 else ""
    return f"{kind}: {words}"[:40] if words else f"{kind} ({len(mine)})"


def _dress(axes: Any, waits: Any, title: str, unit: str) -> None:
    """Give a panel its title, units, grid and scales."""
    dates = _matplotlib("dates")
    axes.set_title(title, loc="left", fontsize=10, color=_INK, fontweight="bold", parse_math=False)
    axes.set_ylabel(unit, color=_INK)
    waits.set_ylabel("% of time", color=WAIT)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.08)
    waits.set_ylim(0, max(5.0, min(105.0, waits.get_ylim()[1] * 1.15)))
    axes.grid(visible=True, color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_zorder(waits.get_zorder() + 1)
    axes.patch.set_visible(False)
    locator = dates.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S", tz=datetime.now(UTC).astimezone().tzinfo))
    for one in (axes, waits):
        one.margins(x=0.01)
        one.spines["top"].set_visible(False)
        one.tick_params(labelsize=8, colors=_INK)


def _moment(replay: Replay, time_usec: int) -> datetime:
    return datetime.fromtimestamp(replay.wall_usec(time_usec) / USEC_PER_SEC, tz=UTC)


def _heading(replay: Replay, inodes: list[int]) -> str:
    policies = dict.fromkeys(name for inode in inodes for name in replay.merged[inode].policies)
    started = datetime.fromtimestamp(replay.wall_usec(replay.started_usec) / USEC_PER_SEC, tz=UTC).astimezone()
    what = f"{', '.join(policies) or 'no policy'} over {replay.hostname or 'a host'}, {started:%Y-%m-%d %H:%M}"
    return output.safe(f"Simulated: {what}. Usage and pressure are as recorded, limits as they would have been.")


def _title(container: Container) -> str:
    return output.name(container.name or container.id[:12])
