"""What is remembered of one container between two looks: whether it has settled, and when to try again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.model.errors import Problem
    from governor.model.tick import Change

FIRST_PAUSE_SEC = 1.0
LONGEST_PAUSE_SEC = 60.0
"""What cannot work is tried this seldom: each try is a write to PID 1."""


@dataclass(slots=True)
class Record:
    """What is known of one container beside itself. Times are of the monotonic clock, in seconds."""

    since: float
    settled: bool = False
    asked: bool = False
    """Somebody asked for a look while one was under way: look again at once."""
    last: dict[str, Change] = field(default_factory=dict)
    """The last change of each property, so that `explain` knows why."""
    problems: tuple[Problem, ...] = ()
    again_at: float | None = None
    """When to look again although no file has changed; None = only then."""
    blind_until: float = 0.0
    """A round that broke off has not noted the files: until then they all look changed."""
    failures: int = 0

    def finished(self, outcomes: Iterable[Outcome], now: float) -> None:
        """Note how a round ended: what converges is looked at with each tick, what failed ever more seldom."""
        found = set(outcomes)
        self.blind_until = 0.0
        if Outcome.FAILED in found:
            self.again_at = now + self._pause_sec()
        else:
            self.failures = 0
            self.again_at = now if Outcome.CONVERGING in found else None

    def broke_off(self, now: float) -> None:
        """Note that a round ended in the middle."""
        self.again_at = self.blind_until = now + self._pause_sec()

    def due(self, now: float) -> bool:
        """Return whether to look again whatever the files say."""
        return self.again_at is not None and now >= self.again_at

    def blind(self, now: float) -> bool:
        """Return whether a change of the files tells nothing."""
        return now < self.blind_until

    def _pause_sec(self) -> float:
        self.failures += 1
        return float(min(FIRST_PAUSE_SEC * 2 ** (min(self.failures, 10) - 1), LONGEST_PAUSE_SEC))
