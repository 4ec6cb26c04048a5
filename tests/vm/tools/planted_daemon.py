"""governord with one controller more, which makes things worse: run in the guest by test_feedback.py."""

import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from governor import controllers
from governor.model.control import Decision, Expect, Member, Solo

QUOTA = "CPUQuotaPerSecUSec"
WAIT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted(Solo):
    """Cuts the quota to 10% and expects that the container is throttled less."""

    name: ClassVar[str] = "planted"
    properties: ClassVar[tuple[str, ...]] = (QUOTA,)
    signals: ClassVar[tuple[str, ...]] = ("cpu.throttled_ratio",)

    def start(self) -> int:
        return 0

    def step(self, state: int, member: Member, dt_sec: float) -> tuple[Any, Decision | None]:
        del dt_sec
        if member.silenced or member.sample.get("cpu.throttled_ratio") is None:
            return state, None
        if state != WAIT:  # until there is something to compare with; and never again after that
            return state + 1, None
        expect = Expect(inode=member.inode, signal="cpu.throttled_ratio", gain=0.5, after_usec=10_000_000)
        return state + 1, Decision(inode=member.inode, reason="planted", limits={QUOTA: 100_000}, expect=(expect,))


controllers.BY_NAME = MappingProxyType({**controllers.BY_NAME, "planted": Planted})
from governor.service.main import main  # noqa: E402 - what it imports must see the controller

sys.exit(main([]))
