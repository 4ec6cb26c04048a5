"""What happened in one round, in the only form that exporters and the D-Bus API get to see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.model.container import Container
    from governor.model.step import Step
    from governor.model.values import Value


class Outcome(StrEnum):
    """How one change ended."""

    APPLIED = "applied"
    """Written, and read back from the kernel."""
    RESTORED = "restored"
    """The original is back."""
    OBSERVED = "observed"
    """Would have been written, but the mode is observe."""
    YIELDED = "yielded"
    """Somebody else changed it: left alone from here on."""
    CONVERGING = "converging"
    """On its way: memory is being reclaimed before the limit is lowered."""
    REFUSED = "refused"
    """Must not be written: protected, owned by another daemon, or a device would be lost."""
    FAILED = "failed"
    """Could not be written or did not arrive; tried again with the next tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One property of one container, before and after. `old` and `new` are property values; None = not known."""

    container: Container
    property: str
    old: Value | None
    new: Value | None
    source: str
    reason: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One round: what is there, what came and went, and what was done. Times in µs of CLOCK_MONOTONIC."""

    started_usec: int
    duration_usec: int
    containers: tuple[Container, ...]
    added: tuple[Container, ...] = ()
    removed: tuple[Container, ...] = ()
    changes: tuple[Change, ...] = ()
    steps: tuple[tuple[Container, Step], ...] = ()
    """What feedback did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One limit of one container, in full: what `governorctl explain` shows. Times in µs since the epoch."""

    property: str
    value: Value | None
    original: Value | None
    source: str
    reason: str
    since_usec: int
    until_usec: int
    state: str
    """held, yielded, observed, refused, converging or conflict."""
    overrides: tuple[str, ...] = ()
