"""What is taken back goes to what stood before that action, not further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from governor.engine.engine import Engine
from governor.engine.world import Subject, World
from governor.model.control import Control, Decision, Expect, Member, Solo
from governor.model.signal import Sample
from governor.model.step import StepKind

QUOTA = "CPUQuotaPerSecUSec"
PSI = "pressure.cpu.some"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoCuts(Solo):
    """Cuts to a half, which does no harm, and then to a tenth, which does."""

    name: ClassVar[str] = "two-cuts"
    properties: ClassVar[tuple[str, ...]] = (QUOTA,)
    signals: ClassVar[tuple[str, ...]] = (PSI,)

    def start(self) -> int:
        return 0

    def step(self, state: int, member: Member, dt_sec: float) -> tuple[Any, Decision | None]:
        del dt_sec
        if member.silenced or state not in (5, 40):
            return state + 1, None
        expect = Expect(inode=member.inode, signal=PSI, gain=0.0, good_enough=0.1, after_usec=10_000_000)
        value = 500_000 if state == 5 else 100_000
        return state + 1, Decision(inode=member.inode, reason=f"to {value}", limits={QUOTA: value}, expect=(expect,))


def test_a_second_action_that_does_harm_leaves_the_first_in_force() -> None:
    engine = Engine(100, kinds=(TwoCuts,))
    quota, kinds = 1_000_000, []
    for second in range(1, 80):
        now_usec = second * 1_000_000
        sample = Sample(time_usec=now_usec, values={PSI: 0.9 if quota < 200_000 else 0.0})
        subject = Subject(
            inode=1,
            name="c",
            sample=sample,
            controls={"two-cuts": Control.of(TwoCuts())},
            base={QUOTA: 1_000_000},
            current={QUOTA: quota},
        )
        outcome = engine.step(World(now_usec=now_usec, host=Sample(time_usec=now_usec), subjects={1: subject}))
        kinds += [step.kind for step in outcome.steps]
        settings = engine.combined(1).settings
        value = settings[QUOTA].value if QUOTA in settings else 1_000_000
        assert isinstance(value, int)
        quota = value
    assert kinds == [StepKind.DECIDED, StepKind.HELPED, StepKind.DECIDED, StepKind.UNDONE]
    assert quota == 500_000
