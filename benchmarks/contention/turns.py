"""Every way in its turn, again and again: what each turn measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.contention import ways
from benchmarks.contention.stage import KINDS, RATE
from benchmarks.report import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contention.stage import Stage, Window

STEADY, COMES_AND_GOES, CHANGES = "steady", "batch comes and goes", "rate changes"
PATTERNS: Final = (STEADY, COMES_AND_GOES, CHANGES)
PERIOD_SEC: Final = 20
"""Of what changes: half of it so, half of it otherwise."""


@dataclass(frozen=True)
class Plan:
    """One that is still to be measured."""

    antagonist: str
    pattern: str
    way: str
    run: int


@dataclass(frozen=True)
class Turn:
    """One window under one way."""

    antagonist: str
    pattern: str
    way: str
    run: int
    window: Window


def measure(stage: Stage, antagonist: str, pattern: str, runs: int, seconds: int) -> Iterator[Turn]:
    """Yield the turns of all ways; each run begins with another one."""
    every = _ways(antagonist, pattern)
    for run in range(runs):
        first = run * 2 % len(every)
        for way in (*every[first:], *every[:first]):
            yield _turn(stage, Plan(antagonist, pattern, way, run), seconds)


def _ways(antagonist: str, pattern: str) -> tuple[str, ...]:
    if pattern == STEADY:
        return ways.ways(antagonist)
    return (ways.SOLO, ways.NOTHING, ways.GOVERNOR, ways.ALONE)


def _turn(stage: Stage, plan: Plan, seconds: int) -> Turn:
    with ways.under(stage, plan.way, plan.antagonist):
        warm_up = ways.warm_up(plan.way, plan.antagonist)
        flips = _flips(plan)
        stage.window(warm_up, *flips)
        window = stage.window(seconds, *flips)
    say(
        f"{plan.antagonist}, {plan.pattern}, run {plan.run + 1}, {plan.way}: "
        f"p50 {window.p50 / 1e3:.2f} ms, p99 {window.p99 / 1e3:.2f} ms, {window.work:.1f} units a second"
    )
    return Turn(plan.antagonist, plan.pattern, plan.way, plan.run, window)


def _flips(plan: Plan) -> tuple[str, ...]:
    """Return what changes during the window, as `contend window` is told of it."""
    if plan.pattern == COMES_AND_GOES and plan.way != ways.SOLO:
        return ("kind", str(KINDS[plan.antagonist]), "0", str(PERIOD_SEC))
    if plan.pattern == CHANGES and plan.way != ways.ALONE:
        return ("rate", str(RATE // 2), str(RATE * 3 // 2), str(PERIOD_SEC))
    return ()
