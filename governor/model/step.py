"""What feedback did, one thing at a time: for the journal, `explain`, recordings and the D-Bus API."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from governor.model.control import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Act
    from governor.model.policy import Mode
    from governor.model.values import Value


class StepKind(StrEnum):
    """What became of a decision, or of one that was in force."""

    DECIDED = "decided"
    """In force from now on; in observe mode: would be."""
    RECOMMENDED = "recommended"
    """Advice that the policy asked for; nothing is written."""
    DONE = "done"
    """An act that leaves nothing behind to be judged was carried out: a kill."""
    HELPED = "helped"
    """Judged, and kept."""
    UNDONE = "undone"
    """Judged, and taken back: it did not help. The controller is silenced for this container."""
    EXPIRED = "expired"
    """Its time was up, or the control is no longer asked for."""
    BUDGET = "budget"
    """Not done: the host's actions for this minute are used up."""
    FAILED = "failed"
    """The controller raised: it loses its turn and its state."""
    RELEASED = "released"
    """All feedback was dropped because the loop had stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that the engine did, in words. `limits` are what the controller's wish is from now on."""

    kind: StepKind
    time_usec: int
    controller: str
    inode: int
    reason: str
    source: str = ""
    mode: Mode | None = None
    limits: Mapping[str, Value | None] = field(default_factory=lambda: NOTHING)
    act: Act | None = None
