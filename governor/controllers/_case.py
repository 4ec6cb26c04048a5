"""One case of pressure-kill: notice, grace, perhaps a freeze, perhaps a kill; it ends as soon as the trouble does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from governor.model.control import Decision, Expect, Freeze, Kill, Notify
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from governor.controllers._trouble import Trouble
    from governor.model.control import Act, Member

REST_USEC: Final = 15 * USEC_PER_SEC
"""After a freeze or a kill nothing else is done: what it frees has to show first (systemd-oomd, oomd)."""
CLOSED_USEC: Final = 30 * USEC_PER_SEC
"""Without trouble for this long, a case is over."""
AGAIN_USEC: Final = 300 * USEC_PER_SEC
"""A notice that nothing follows is repeated after this; so long a freeze is remembered."""


class Stage(StrEnum):
    """How far a case has gone."""

    NOTICE = "notice"
    FROZEN = "frozen"
    THAWED = "thawed"
    """It had its freeze."""
    KILLED = "killed"
    DONE = "done"
    """All that the policy allows was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A container that was given notice."""

    stage: Stage
    since_usec: int
    """When this stage began."""
    trouble_usec: int
    """When there was trouble last."""

    action: str
    """What the policy allowed when the notice was given."""
    froze: bool = False
    """It was frozen in vain: trouble that returns is met with what comes after a freeze."""

    @property
    def live(self) -> bool:
        """Return whether something may follow: meanwhile nobody else is given notice."""
        return self.stage in {Stage.NOTICE, Stage.FROZEN, Stage.KILLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What may be done to one container."""

    member: Member
    action: str
    grace_usec: int
    freeze_usec: int
    whole: bool
    now_usec: int

    def first(self, trouble: Trouble) -> tuple[Case, Decision]:
        """Return a new case and its notice."""
        follows = {"notify": "nothing follows", "freeze": "then it is frozen", "kill": "then it is killed"}[self.action]
        reason = f"{trouble.words}; {self._sec(self.grace_usec)} of grace, {follows}"
        case = Case(stage=Stage.NOTICE, since_usec=self.now_usec, trouble_usec=self.now_usec, action=self.action)
        return case, self._decided(reason, Notify(grace_usec=self.grace_usec))

    def next(
        self, case: Case, trouble: Trouble | None, *, known: bool, resting: bool
    ) -> tuple[Case | None, Decision | None]:
        """Return the case one tick on (None: closed) and what to do. What is not known leaves it as it is."""
        case = replace(case, trouble_usec=self.now_usec) if trouble is not None else case
        match case.stage:
            case Stage.NOTICE:
                return self._noticed(case, trouble, known=known, resting=resting)
            case Stage.FROZEN:
                return self._frozen(case, trouble, known=known, resting=resting)
            case Stage.KILLED:
                return self._killed(case)
            case Stage.THAWED | Stage.DONE:
                return self._waiting(case, trouble, known=known)

    def _noticed(
        self, case: Case, trouble: Trouble | None, *, known: bool, resting: bool
    ) -> tuple[Case | None, Decision | None]:
        if known and trouble is None:
            return None, self._decided("recovered within the grace: nothing is done", None)
        if trouble is None or resting or self.now_usec - case.since_usec < self.grace_usec:
            return case, None
        if self.action == "notify":
            return self._at(case, Stage.DONE), None
        return self._freezes(case, trouble) if self.freeze_usec and not case.froze else self._kills(case, trouble)

    def _frozen(
        self, case: Case, trouble: Trouble | None, *, known: bool, resting: bool
    ) -> tuple[Case | None, Decision | None]:
        """Thaw it once the trouble is over or its time is; kill it where that is allowed and the host is no better."""
        over = self.now_usec - case.since_usec >= self.freeze_usec
        if known and trouble is None:
            return self._thaws(case, "recovered while it was frozen")
        if not over:
            return case, None
        if self.action == "kill" and trouble is not None:
            return (case, None) if resting else self._kills(case, trouble)
        return self._thaws(case, f"frozen for {self._sec(self.freeze_usec)}")

    def _waiting(self, case: Case, trouble: Trouble | None, *, known: bool) -> tuple[Case | None, Decision | None]:
        """Close the case where the trouble is over for good; after a freeze, trouble that returns gets a new notice."""
        kept = AGAIN_USEC if case.stage is Stage.THAWED else CLOSED_USEC
        if known and self.now_usec - case.trouble_usec >= kept:
            return None, None
        if trouble is not None and case.action != self.action:  # another policy by now: what follows is told anew
            return self.first(trouble)
        if trouble is not None and case.stage is Stage.THAWED:
            again, decision = self.first(trouble)
            return replace(again, froze=self.action == "kill"), decision
        if trouble is not None and self.now_usec - case.since_usec >= AGAIN_USEC:
            return self.first(trouble)
        return case, None

    def _killed(self, case: Case) -> tuple[Case | None, Decision | None]:
        """Close the case after the rest: it is gone by then, or only one process was killed and it is judged anew."""
        return (None, None) if self.now_usec - case.since_usec >= REST_USEC else (case, None)

    def _freezes(self, case: Case, trouble: Trouble) -> tuple[Case, Decision]:
        reason = f"{trouble.words}, still after {self._sec(self.grace_usec)} of grace: frozen for up to "
        decision = self._decided(reason + self._sec(self.freeze_usec), Freeze(frozen=True))
        signal = "host.pressure.memory.full" if trouble.host else "pressure.memory.full"
        inode = 0 if trouble.host else self.member.inode
        expect = (Expect(inode=inode, signal=signal, gain=0.1),)
        return self._at(case, Stage.FROZEN), replace(decision, expect=expect, hold_usec=self.freeze_usec)

    def _kills(self, case: Case, trouble: Trouble) -> tuple[Case, Decision]:
        what = "all its processes are killed" if self.whole else "its process with most memory is killed"
        before = "a freeze" if case.stage is Stage.FROZEN else f"{self._sec(self.grace_usec)} of grace"
        decision = self._decided(f"{trouble.words}, still after {before}: {what}", Kill(whole=self.whole))
        return self._at(case, Stage.KILLED), decision

    def _thaws(self, case: Case, why: str) -> tuple[Case, Decision]:
        return self._at(case, Stage.THAWED), self._decided(f"{why}: thawed", Freeze(frozen=False))

    def _at(self, case: Case, stage: Stage) -> Case:
        return replace(case, stage=stage, since_usec=self.now_usec)

    def _decided(self, reason: str, act: Act | None) -> Decision:
        return Decision(inode=self.member.inode, reason=f"{self.member.name}: {reason}", act=act)

    @staticmethod
    def _sec(usec: int) -> str:
        return f"{usec / USEC_PER_SEC:g} s"
