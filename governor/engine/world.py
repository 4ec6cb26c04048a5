"""What the engine is given in one step and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.model.control import NOTHING
from governor.model.step import StepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Control
    from governor.model.policy import Setting
    from governor.model.signal import Sample
    from governor.model.step import Step
    from governor.model.values import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One container in one step; `base` and `current` as in control.Member, without what only observes."""

    inode: int
    name: str
    sample: Sample
    controls: Mapping[str, Control] = field(default_factory=dict)
    base: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    current: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """What the policies' static limits come to for it: feedback is laid over them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The host in one step. `now_usec` is CLOCK_MONOTONIC."""

    now_usec: int
    host: Sample
    subjects: Mapping[int, Subject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one step came to."""

    steps: tuple[Step, ...] = ()
    changed: frozenset[int] = frozenset()
    """Inodes whose feedback settings are others now: see Engine.combined()."""

    @property
    def orders(self) -> tuple[Step, ...]:
        """The steps whose act is to be carried out: none that only observes."""
        return tuple(
            step
            for step in self.steps
            if step.act is not None and step.kind is StepKind.DECIDED and step.mode == "enforce"
        )
