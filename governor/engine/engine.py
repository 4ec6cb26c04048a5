"""One step of all feedback: controllers decide, the budget and the silences restrain, what was done is judged.

Everything that this needs is given to it and everything that it does is returned: the daemon steps it with what the
sensors read, `governorctl simulate` with what a recording holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor import controllers
from governor.engine.combine import Combined, Wish, clamped, combine
from governor.engine.follow import Followed, History, begin, judge
from governor.engine.restraint import Budget, Silence
from governor.engine.runner import Failure, Runner
from governor.engine.wishing import only_gives_back, repeats, sets_limits, wish_of
from governor.engine.world import Outcome
from governor.model.control import NOTHING, Decision, Freeze, Joint, Member, Solo
from governor.model.directives import FREEZE
from governor.model.policy import Mode
from governor.model.step import Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.engine.world import Subject, World
    from governor.model.control import Control, Controller
    from governor.model.values import Value


class Engine:
    """All feedback of one host. `kinds` are the controllers that there are."""

    def __init__(
        self, actions_per_minute: int, kinds: Iterable[type[Controller]] = tuple(controllers.BY_NAME.values())
    ) -> None:
        self._kinds = tuple(kinds)
        self.budget = Budget(actions_per_minute)
        self._silence = Silence()
        self._wishes: dict[tuple[str, int], Wish] = {}
        self._history: dict[int, History] = {}
        self._followed: dict[tuple[str, int], Followed] = {}
        self._combined: dict[int, Combined] = {}
        self._now_usec = 0
        self._runner = Runner(self._member)

    def step(self, world: World, *, fast: bool = False) -> Outcome:
        """Return what happened. A `fast` step runs only the controllers that want more than one step a tick."""
        self._now_usec = world.now_usec
        steps: list[Step] = []
        if not fast:
            for inode, subject in world.subjects.items():
                self._history.setdefault(inode, History()).add(subject.sample)
            self._history.setdefault(0, History()).add(world.host)
            steps += self._expire(world)
            steps += self._judge()
        for kind in self._kinds:
            if not fast or kind.interval_usec < Solo.interval_usec:
                steps += self._run(kind, world)
        return Outcome(steps=tuple(steps), changed=frozenset(self._recombine(world, fast=fast)))

    def combined(self, inode: int) -> Combined:
        """Return the settings that feedback asks for on one container."""
        return self._combined.get(inode) or Combined()

    def wishes(self, inode: int) -> tuple[Wish, ...]:
        """Return what each controller wants of one container now."""
        return tuple(wish for (_, of), wish in self._wishes.items() if of == inode)

    def adopt(self, subject: Subject, controller: str, limits: Mapping[str, Value], now_usec: int) -> None:
        """Take over what an earlier daemon's controller had set, so that a restart does not flap."""
        control = subject.controls[controller]
        self._wishes[controller, subject.inode] = Wish(
            controller=controller,
            control=control,
            limits=dict(limits),
            reason="set before the daemon was started anew",
            since_usec=now_usec,
            until_usec=now_usec + control.settings.lease,
            fixed_end=FREEZE in limits,  # a controller that begins anew does not know what it froze
        )
        self._combined[subject.inode] = combine(subject.settings, subject.base, self.wishes(subject.inode))

    def state(self, controller: str, inode: int) -> Any:
        """Return a solo controller's state for one container, None before its first step."""
        return self._runner.state(controller, inode)

    def restore_state(self, settings: Solo, inode: int, value: Any, now_usec: int) -> None:
        """Let a solo controller go on from what an earlier daemon left."""
        self._runner.restore(settings, inode, value, now_usec)

    def release(self, now_usec: int, reason: str) -> Outcome:
        """Drop all feedback at once: the loop had stalled, and nothing is known of the time between."""
        inodes = {inode for _, inode in self._wishes}
        steps = tuple(
            Step(kind=StepKind.RELEASED, time_usec=now_usec, controller=name, inode=inode, reason=reason)
            for name, inode in self._wishes
        )
        for known in (self._wishes, self._followed, self._history, self._combined):
            known.clear()
        self._runner.clear()
        return Outcome(steps=steps, changed=frozenset(inodes))

    def forget(self, inode: int) -> None:
        """Drop all that is known of a container that ended."""
        for key in [key for key in self._wishes if key[1] == inode]:
            del self._wishes[key]
        for key in [key for key in self._followed if key[1] == inode]:
            del self._followed[key]
        self._history.pop(inode, None)
        self._combined.pop(inode, None)
        self._silence.forget(inode)
        self._runner.forget(inode)

    # -- what a controller sees

    def _member(self, controller: str, subject: Subject) -> Member:
        control = subject.controls.get(controller)
        current = subject.current
        if control is not None and control.mode is Mode.OBSERVE:
            current = {**current, **self._would_hold(controller, subject)}
        return Member(
            inode=subject.inode,
            name=subject.name,
            sample=subject.sample,
            base=subject.base,
            current=current,
            silenced=self._silence.holds(controller, subject.inode, self._now_usec),
        )

    def _would_hold(self, controller: str, subject: Subject) -> Mapping[str, Value]:
        """Return what a controller that only observes would have set, within its bounds as if it were written."""
        wish = self._wishes.get((controller, subject.inode))
        if wish is None:
            return NOTHING
        return {name: clamped(name, value, wish, subject.base.get(name)) for name, value in wish.limits.items()}

    # -- deciding

    def _run(self, kind: type[Controller], world: World) -> list[Step]:
        if issubclass(kind, Solo):
            found = list(self._runner.solo(kind, world))
        elif issubclass(kind, Joint):
            found = list(self._runner.joint(kind, world))
        else:
            return []
        steps = [step for one in found if (step := self._take(kind.name, one, world)) is not None]
        if not any(isinstance(one, Failure) and not one.inode for one in found):
            self._renew(kind, world, {step.inode for step in steps if step.kind in (StepKind.DECIDED, StepKind.FAILED)})
        return steps

    def _take(self, controller: str, found: Decision | Failure, world: World) -> Step | None:
        if isinstance(found, Failure):
            return self._said(StepKind.FAILED, controller, found.inode, f"{controller} failed: {found.error}")
        control = world.subjects[found.inode].controls[controller]
        if found.recommend and not found.limits and found.act is None:
            return self._said(
                StepKind.RECOMMENDED, controller, found.inode, found.reason, control, dict(found.recommend)
            )
        if repeats(found, self._wishes.get((controller, found.inode))):
            self._wish(controller, control, found)
            return None
        if self._silence.holds(controller, found.inode, self._now_usec) and not only_gives_back(found):
            return None
        if sets_limits(found) and not self.budget.take(self._now_usec, control.mode):
            return self._said(
                StepKind.BUDGET, controller, found.inode, f"not done, budget used up: {found.reason}", control
            )
        before = self._wishes.get((controller, found.inode))
        self._wish(controller, control, found)
        # what is only observed changes nothing that could be judged
        if found.expect and control.mode is Mode.ENFORCE and (controller, found.inode) not in self._followed:
            self._followed[controller, found.inode] = begin(
                controller, control, found, self._now_usec, self._history, before
            )
        return replace(
            self._said(StepKind.DECIDED, controller, found.inode, found.reason, control, dict(found.limits)),
            act=None if isinstance(found.act, Freeze) else found.act,
        )

    def _wish(self, controller: str, control: Control, decision: Decision) -> None:
        """Enter what a decision changes."""
        key = (controller, decision.inode)
        wish = wish_of(self._wishes.get(key), controller, control, decision, self._now_usec)
        if wish is not None:
            self._wishes[key] = wish
            return
        self._wishes.pop(key, None)
        if decision.limits:
            self._followed.pop(key, None)

    def _renew(self, kind: type[Controller], world: World, decided: set[int]) -> None:
        """Renew the lease of what a controller has just looked at and left as it is."""
        for inode, subject in world.subjects.items():
            key, control = (kind.name, inode), subject.controls.get(kind.name)
            wish = self._wishes.get(key)
            if wish is None or control is None or wish.fixed_end or inode in decided:
                continue
            if any(name in subject.sample.values for name in kind.signals):
                self._wishes[key] = replace(wish, control=control, until_usec=self._now_usec + control.settings.lease)

    # -- what ends

    def _expire(self, world: World) -> list[Step]:
        """End what is over: its time is up, its container or its control has gone."""
        steps = []
        for (controller, inode), wish in list(self._wishes.items()):
            subject = world.subjects.get(inode)
            control = subject.controls.get(controller) if subject is not None else None
            asked = control is not None
            if control is not None and wish.until_usec > self._now_usec:
                # bounds and mode are those of the policy as it is now
                self._wishes[controller, inode] = replace(wish, control=control)
                continue
            del self._wishes[controller, inode]
            self._followed.pop((controller, inode), None)
            if not asked:
                self._runner.reset(controller, inode)
            why = "its time is up" if asked else "no policy asks for it any more"
            steps.append(self._said(StepKind.EXPIRED, controller, inode, f"{why}: {wish.reason}", wish.control))
        return steps

    def _judge(self) -> list[Step]:
        """Compare the signals before and after each action whose time has come."""
        steps = []
        for key, followed in list(self._followed.items()):
            if followed.due_usec > self._now_usec:
                continue
            del self._followed[key]
            verdicts = judge(followed, self._history)
            if any(verdict.failed for verdict in verdicts):
                steps.append(self._undo(followed, "; ".join(str(one) for one in verdicts if one.failed)))
            elif any(verdict.after is not None and verdict.before is not None for verdict in verdicts):
                self._silence.helped(*key)
                words = "; ".join(map(str, verdicts))
                steps.append(self._said(StepKind.HELPED, *key, f"{followed.reason}: {words}", followed.control))
        return steps

    def _undo(self, followed: Followed, words: str) -> Step:
        """Take an action back: what stood before it stands again, for a lease. What was learned stays learned."""
        key = (followed.controller, followed.inode)
        held = self._wishes.pop(key, None)
        control = followed.control if held is None else held.control  # as the policy is now
        if followed.wish is not None and not followed.wish.fixed_end:
            until_usec = self._now_usec + control.settings.lease
            self._wishes[key] = replace(followed.wish, control=control, until_usec=until_usec)
        length_usec = self._silence.begin(*key, control.settings.cooldown, self._now_usec)
        reason = f"did not help ({words}), taken back, silent for {length_usec / 1e6:.0f} s: {followed.reason}"
        return self._said(StepKind.UNDONE, *key, reason, control)

    # -- what it comes to

    def _recombine(self, world: World, *, fast: bool) -> list[int]:
        """Work out anew what the wishes come to, since the static settings below them may be others now, too.

        A fast step may be given but a part of the containers: the others are left as they are.
        """
        wishes: dict[int, list[Wish]] = {inode: [] for inode in self._combined}
        for (_, inode), wish in self._wishes.items():
            wishes.setdefault(inode, []).append(wish)
        changed = []
        for inode, wanted in wishes.items():
            subject, before = world.subjects.get(inode), self.combined(inode)
            if subject is None and fast:
                continue
            if subject is None or not wanted:
                self._combined.pop(inode, None)
            else:
                self._combined[inode] = combine(subject.settings, subject.base, wanted)
            if self.combined(inode) != before:
                changed.append(inode)
        return changed

    def _said(
        self,
        kind: StepKind,
        controller: str,
        inode: int,
        reason: str,
        control: Control | None = None,
        limits: Mapping[str, Value | None] | None = None,
    ) -> Step:
        return Step(
            kind=kind,
            time_usec=self._now_usec,
            controller=controller,
            inode=inode,
            reason=reason,
            source=control.source if control else "",
            mode=control.mode if control else None,
            limits=limits or {},
        )
