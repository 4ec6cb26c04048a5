"""pressure-kill: where memory runs out and reclaim no longer helps, say so; freeze or kill only where a policy says so.

systemd-oomd's conditions (`full` avg10 above a limit for a while, with reclaim going on) and oomd's (avg60, not
falling). What users miss there (systemd#23606, #25853): a notice before, and one process rather than all. So: notice,
grace, then perhaps a freeze, then perhaps a kill; each only while the trouble lasts, one at a time, then a rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from governor.controllers import _trouble
from governor.controllers._case import REST_USEC, Case, Stage, Steps
from governor.controllers._trouble import Trouble, Watch
from governor.model.control import Joint, Takes, key
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Decision, Member, Scene

SHARE: Final = 0.1
"""Of the pages that reclaim scans: with less a container is not the cause of the host's trouble."""
DAY_USEC: Final = 24 * 3600 * USEC_PER_SEC


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of all containers that opted in."""

    watches: Mapping[int, Watch] = field(default_factory=dict)
    cases: Mapping[int, Case] = field(default_factory=dict)
    rest_until_usec: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureKill(Joint):
    """Watches memory pressure; by default it only gives notice."""

    name: ClassVar[str] = "pressure-kill"
    summary: ClassVar[str] = "Gives notice of, freezes or kills whoever makes memory run out"
    properties: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[tuple[str, ...]] = (
        "pressure.memory.full_avg10",
        "pressure.memory.full_avg60",
        "memory.scan",
        "memory.swap",
        "host.pressure.memory.full_avg10",
        "host.pressure.memory.full_avg60",
        "host.memory.available",
        "host.memory.total",
        "host.swap.free",
        "host.swap.total",
    )

    limit: float = key(
        0.6,
        Takes.RATIO,
        "Share of time in which all its, or the host's, tasks wait for memory",
        '"60%"',
        low=0.05,
        high=1.0,
    )
    duration: int = key(
        30 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "How long that must last",
        '"30s"',
        low=USEC_PER_SEC,
        high=3600 * USEC_PER_SEC,
    )
    swap_limit: float = key(
        0.0,
        Takes.RATIO,
        "Also trouble: both free swap and available memory below this; 0 = never",
        '"10%"',
        low=0.0,
        high=0.5,
    )
    action: str = key(
        "notify",
        Takes.CHOICE,
        "The last thing that may be done: give notice, freeze for a while, kill",
        '"kill"',
        choices=("notify", "freeze", "kill"),
    )
    grace: int = key(
        10 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "Time between the notice and what follows, to prevent it",
        '"10s"',
        low=USEC_PER_SEC,
        high=3600 * USEC_PER_SEC,
    )
    freeze: int = key(
        0,
        Takes.TIMESPAN,
        "How long it is frozen, before a kill or instead; 0 = not at all",
        '"30s"',
        low=0,
        high=DAY_USEC,
    )
    whole: bool = key(True, Takes.BOOLEAN, "Kills all its processes; false: only the one with most memory", "false")
    preference: str = key(
        "none",
        Takes.CHOICE,
        "Whether others are chosen before it (avoid)",
        '"avoid"',
        choices=("none", "avoid"),
    )

    def complaint(self) -> str:
        """Return what is wrong with the combination of keys; "" where nothing is."""
        if self.action == "freeze" and not self.freeze:
            return 'action = "freeze" needs to know for how long: freeze = "30s"'
        if self.action == "notify" and self.freeze:
            return 'freeze says for how long, but action = "notify" never freezes: action = "freeze" or "kill"'
        if self.action != "kill" and not self.whole:
            return 'whole = false says what is killed: it needs action = "kill"'
        return ""

    @classmethod
    def start_all(cls) -> State:
        """Return the state before the first step."""
        return State()

    @classmethod
    def step_all(cls, state: State, scene: Scene) -> tuple[State, tuple[Decision, ...]]:
        """Return the next state and what to do: cases that are open go on, at most one new one is opened."""
        members = {i: (m, s) for i, (m, s) in scene.members.items() if isinstance(s, PressureKill)}
        watches = {i: _watched(state.watches.get(i, Watch()), m, s, scene) for i, (m, s) in members.items()}
        cases = {i: c for i, c in state.cases.items() if i in members and not members[i][0].silenced}
        state = replace(state, watches=watches, cases=cases)
        found = {i: w.trouble for i, w in watches.items() if w.trouble is not None and not members[i][0].silenced}
        decisions = []
        for inode in sorted(cases):
            state, decision = _went_on(state, scene, *members[inode], found.get(inode))
            decisions += [decision] if decision is not None else []
        if not decisions and not any(case.live for case in state.cases.values()):
            state, decision = _opened(state, scene, members, found)
            decisions += [decision] if decision is not None else []
        return state, tuple(decisions)


def _watched(before: Watch, member: Member, settings: PressureKill, scene: Scene) -> Watch:
    keys = _trouble.Keys(limit=settings.limit, duration_usec=settings.duration, swap_limit=settings.swap_limit)
    return _trouble.watched(before, member.sample, scene.host, keys, scene.now_usec)


def _steps(member: Member, settings: PressureKill, now_usec: int) -> Steps:
    return Steps(
        member=member,
        action=settings.action,
        grace_usec=settings.grace,
        freeze_usec=settings.freeze,
        whole=settings.whole,
        now_usec=now_usec,
    )


def _went_on(
    state: State, scene: Scene, member: Member, settings: PressureKill, trouble: Trouble | None
) -> tuple[State, Decision | None]:
    """Take an open case one step further, if that is due; a rest delays what is harsh, never a thaw."""
    case, known = state.cases[member.inode], state.watches[member.inode].known
    steps = _steps(member, settings, scene.now_usec)
    after, decision = steps.next(case, trouble, known=known, resting=scene.now_usec < state.rest_until_usec)
    cases = {inode: each for inode, each in state.cases.items() if inode != member.inode}
    cases |= {member.inode: after} if after is not None else {}
    harsh = after is not None and after.stage is not case.stage and after.stage in {Stage.FROZEN, Stage.KILLED}
    rest = scene.now_usec + REST_USEC if harsh else state.rest_until_usec
    return replace(state, cases=cases, rest_until_usec=rest), decision


def _opened(
    state: State,
    scene: Scene,
    members: Mapping[int, tuple[Member, PressureKill]],
    found: Mapping[int, Trouble],
) -> tuple[State, Decision | None]:
    """Give notice to whoever is first in line: not to be avoided, then by pages that reclaim scans (systemd-oomd)."""
    total = sum(trouble.scan for trouble in found.values())
    open_to = [
        i for i, trouble in found.items() if i not in state.cases and (trouble.own or trouble.scan >= SHARE * total)
    ]
    if not open_to or scene.now_usec < state.rest_until_usec:
        return state, None
    inode = max(open_to, key=lambda i: (members[i][1].preference != "avoid", found[i].scan, found[i].swap_bytes, -i))
    case, decision = _steps(*members[inode], scene.now_usec).first(found[inode])
    return replace(state, cases={**state.cases, inode: case}), decision
