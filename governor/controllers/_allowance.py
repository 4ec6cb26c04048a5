"""How much CPU batch may use in all, and how tightly: the state machine of `headroom` for the host as a whole.

The allowance is Koordinator's suppress with the means of Meta's sideloader. Notches tighten it while the others wait
for CPU although batch keeps to it: up after 3 s of waiting, down after a long calm, which doubles with each relapse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governor.controllers._spare import Used, pushed, recent

if TYPE_CHECKING:
    from governor.controllers._spare import Load, Wait

SUSTAINED_SEC: Final = 2.95
"""Three ticks of a second: a burst of the service's own is shorter, and an action takes so long to show."""
NOTCH: Final = 0.8
MOST_NOTCHES: Final = 12
MOST_RELAPSES: Final = 5
RAISE_A_SEC: Final = 0.1
"""Of the host: Koordinator's bound on giving CPU time to batch."""
DEAD_BAND: Final = 0.01
"""Of the host."""
BUSY: Final = 0.05
"""Batch that uses less than this of the host is not what others wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the policies ask for, on the host as a whole."""

    headroom: float
    pressure: float
    quiet_sec: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What batch may use now, and what has been seen."""

    used: Used = ()
    """What everything else used in the last 5 s."""
    cores: float | None = None
    notch: int = 0
    """0: weight suffices; from 1 on the allowance is a cap, tightened by each notch above the first."""
    strained_sec: float = 0.0
    calm_sec: float = 0.0
    released_sec: float = math.inf
    """Time since a notch was given back."""
    relapses: int = 0

    def next(self, load: Load, wait: Wait | None, rules: Rules, movable: float, dt_sec: float) -> Allowance:
        """Return the allowance `dt_sec` later; `movable` is what those members use that can be acted on, in cores."""
        judged = self._judged(wait, rules, dt_sec, can_help=movable > BUSY * load.capacity)
        used = pushed(self.used, dt_sec, load.others)
        goal = max(0.0, load.capacity * (1 - rules.headroom) - recent(used)) * NOTCH ** max(0, judged.notch - 1)
        return replace(judged, used=used, cores=self._towards(goal, load.capacity, dt_sec))

    def patience_sec(self, rules: Rules) -> float:
        """Return for how long nobody may have waited before a notch is given back."""
        return rules.quiet_sec * 2.0**self.relapses

    def _towards(self, goal: float, capacity: float, dt_sec: float) -> float:
        """Drop at once, rise by a tenth of the host a second, ignore what is below a hundredth of it."""
        if self.cores is None:
            return goal
        following = min(goal, self.cores + RAISE_A_SEC * capacity * dt_sec)
        return self.cores if abs(following - self.cores) < DEAD_BAND * capacity else following

    def _judged(self, wait: Wait | None, rules: Rules, dt_sec: float, *, can_help: bool) -> Allowance:
        """Return it with the notch that the waiting asks for; from half of `pressure` to all of it, none moves."""
        if wait is None:
            return self
        later = replace(self, released_sec=self.released_sec + dt_sec)
        if wait.ratio > rules.pressure:
            strained = later.strained_sec + dt_sec if can_help else 0.0
            waiting = replace(later, strained_sec=strained, calm_sec=0.0)
            return _tightened(waiting, rules) if strained >= SUSTAINED_SEC else waiting
        if wait.ratio > rules.pressure / 2:
            return replace(later, strained_sec=0.0)
        calm = replace(later, strained_sec=0.0, calm_sec=later.calm_sec + dt_sec)
        return _released(calm) if calm.notch and calm.calm_sec >= calm.patience_sec(rules) else calm


def _tightened(before: Allowance, rules: Rules) -> Allowance:
    is_relapse = before.released_sec < 2 * before.patience_sec(rules)
    relapses = min(before.relapses + 1, MOST_RELAPSES) if is_relapse else 0
    return replace(before, notch=min(before.notch + 1, MOST_NOTCHES), strained_sec=0.0, relapses=relapses)


def _released(before: Allowance) -> Allowance:
    return replace(before, notch=before.notch - 1, calm_sec=0.0, released_sec=0.0)
