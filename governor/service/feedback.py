"""Feedback on this host: sample, step the engine, lay what it wants over the policies, carry out what it orders.

Sampling happens in a worker thread with cgroups of its own, so that no slow file holds up the event loop. A fast loop
steps the controllers that want more than one step a tick, for at most ten containers at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from governor import controllers
from governor.actuators.decide import FEEDBACK
from governor.engine.engine import Engine
from governor.engine.world import World
from governor.model.control import Joint, Kill, Notify, Reclaim
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.lease import Hold
from governor.model.policy import Mode
from governor.model.step import Step, StepKind
from governor.service import explain
from governor.service.memory import Memory
from governor.service.subjects import NO_SAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from governor.actuators.acts import Acts
    from governor.engine.world import Outcome, Subject
    from governor.kernel.cgroup import Cgroup
    from governor.model.container import Container
    from governor.model.lease import Lease, Target
    from governor.model.signal import Sample
    from governor.model.tick import Explanation
    from governor.model.values import Value
    from governor.service.learned import Learned
    from governor.service.sampling import Sampling
    from governor.service.subjects import Subjects
    from governor.service.wakes import Wakes
    from governor.service.wants import Wants

log = logging.getLogger(__name__)

FAST_INTERVAL_SEC: Final = 0.1
FAST_AT_ONCE: Final = 10
TICK_USEC: Final = 1_000_000
"""A controller that wants to be stepped more often than this is fast."""
STALLED_TICKS: Final = 3
"""A loop that comes this many ticks late has seen nothing for so long that what it set may be wrong."""


class Feedback:
    """All feedback of the daemon. `look_at` reconciles a container soon, `publish` tells exporters of steps."""

    def __init__(
        self,
        *,
        wants: Wants,
        subjects: Subjects,
        sampling: Sampling,
        acts: Acts,
        wakes: Wakes,
        learned: Learned,
        scope_of: Callable[[Container], Cgroup],
        containers: Callable[[], tuple[Container, ...]],
        protected: Callable[[Container], str | None],
        look_at: Callable[[Container], None],
        publish: Callable[[tuple[tuple[Container, Step], ...]], None],
    ) -> None:
        self._wants = wants
        self._subjects = subjects
        self._sampling = sampling
        self._acts = acts
        self._wakes = wakes
        self._scope_of = scope_of
        self._containers = containers
        self._protected = protected
        self._look_at = look_at
        self._publish = publish
        self.engine = Engine(wants.settings.actions_per_minute)
        self._memory = Memory(self.engine, learned, wants)
        self._last_tick_usec = 0
        self._sampled: frozenset[int] = frozenset()
        self._fast: tuple[Container, ...] = ()
        self._carrying_out: set[asyncio.Task[None]] = set()
        self.last: dict[tuple[int, str], Step] = {}
        """The last step of each (inode, controller), so that `explain` knows why."""

    async def tick(self, interval_usec: int) -> None:
        """Take one step of all feedback; does nothing, and costs nothing, where no policy asks for any."""
        controlled = self._controlled()
        if not controlled and not self._last_tick_usec:
            return
        if self._stalled(interval_usec):
            self._take(self.engine.release(self._last_tick_usec, "the loop had stalled: all feedback is dropped"))
        self.engine.budget.per_minute = self._wants.settings.actions_per_minute
        joint = self._joint(controlled)
        # everybody, where a controller weighs containers against each other
        looked_at = self._containers() if joint else tuple(controlled.values())
        self._forget_others(looked_at)
        signals = {one.inode: self._signals(one, joint) for one in looked_at}
        samples = await self._sampling.sample((one, signals[one.inode]) for one in looked_at)
        host = await self._sampling.host(self._host_signals(controlled))
        self._last_tick_usec = time.monotonic_ns() // 1000
        world = World(now_usec=self._last_tick_usec, host=host, subjects=dict(self._subjects_of(looked_at, samples)))
        self._take(self.engine.step(world))
        self._fast = self._choose_fast(controlled, samples)
        self._keep_wakes(controlled, signals)
        if self._memory.tick(controlled.values(), self._last_tick_usec):
            self._background(asyncio.to_thread(self._memory.save))
        if not controlled:
            self._last_tick_usec = 0

    async def fast_tick(self) -> None:
        """Take one step of what is fast; costs nothing where nothing is."""
        if self._fast:
            await self._fast_step()

    def adopt(self, container: Container, leases: Iterable[tuple[Target, Mapping[str, Lease]]]) -> None:
        """Take over, from an earlier daemon's ledger, what controllers had set that are still asked for."""
        if self.engine.wishes(container.inode):
            return
        controls = self._wants.policed(container).controls
        held: dict[str, dict[str, Value]] = {}
        for name, lease in (item for _, found in leases for item in found.items()):
            controller = lease.owner.removeprefix(FEEDBACK)
            if lease.owner.startswith(FEEDBACK) and lease.hold is Hold.HELD and controller in controls:
                # the unit's own lease comes before that of a nested cgroup, which only follows it
                held.setdefault(controller, {}).setdefault(name, lease.intended)
        for controller, limits in held.items():
            subject = self._subjects.subject(container, None)
            self.engine.adopt(subject, controller, limits, time.monotonic_ns() // 1000)
        if held:
            self._wants.feed(container.inode, self.engine.combined(container.inode).settings)

    def explain(self, container: Container) -> list[Explanation]:
        """Return what each control of `container` wants now and did last."""
        last = {name: step for (inode, name), step in self.last.items() if inode == container.inode}
        epoch_usec = (time.time_ns() - time.monotonic_ns()) // 1000
        wishes = self.engine.wishes(container.inode)
        return explain.controls(self._wants.policed(container).controls, wishes, last, epoch_usec)

    def container_gone(self, container: Container) -> None:
        """Drop all that is known of a container that ended."""
        self.engine.forget(container.inode)
        self._sampling.forget(container.inode)
        self._wakes.drop(container.inode)
        self._fast = tuple(one for one in self._fast if one.inode != container.inode)
        self._memory.forget(container.inode)
        for key in [key for key in self.last if key[0] == container.inode]:
            del self.last[key]

    async def close(self) -> None:
        """End what is under way; what was set stays, and stands in the ledger."""
        if self._memory.note(self._controlled().values()):
            with suppress(Unsupported):
                await asyncio.to_thread(self._memory.save)
        for task in self._carrying_out:
            task.cancel()
        await asyncio.gather(*self._carrying_out, return_exceptions=True)
        self._acts.close()
        self._wakes.close()
        self._sampling.close()

    # -- who is looked at, and for what

    def _controlled(self) -> dict[int, Container]:
        return {one.inode: one for one in self._containers() if self._wants.policed(one).controls}

    def _forget_others(self, looked_at: Iterable[Container]) -> None:
        """Forget the counters of those not looked at any more: else the next rates would be means over the gap."""
        now = frozenset(one.inode for one in looked_at)
        for inode in self._sampled - now:
            self._sampling.forget(inode)
        self._sampled = now

    def _joint(self, controlled: Mapping[int, Container]) -> set[str]:
        names = {name for one in controlled.values() for name in self._wants.policed(one).controls}
        return {name for name in names if issubclass(controllers.BY_NAME[name], Joint)}

    def _signals(self, container: Container, joint: set[str]) -> frozenset[str]:
        names = {*self._wants.policed(container).controls, *joint}
        return frozenset(signal for name in names for signal in controllers.BY_NAME[name].signals)

    def _host_signals(self, controlled: Mapping[int, Container]) -> frozenset[str]:
        names = {name for one in controlled.values() for name in self._wants.policed(one).controls}
        signals = (signal for name in names for signal in controllers.BY_NAME[name].signals)
        return frozenset(signal for signal in signals if signal.startswith("host."))

    def _subjects_of(
        self, containers: Iterable[Container], samples: Mapping[int, Sample]
    ) -> Iterable[tuple[int, Subject]]:
        for container in containers:
            if container.inode in samples:
                with suppress(Gone):
                    yield container.inode, self._subjects.subject(container, samples[container.inode])

    def _keep_wakes(self, controlled: Mapping[int, Container], signals: Mapping[int, frozenset[str]]) -> None:
        wanted = {}
        for inode, container in controlled.items():
            with suppress(Gone):
                wanted[inode] = (self._scope_of(container), signals[inode])
        self._wakes.keep(wanted)

    def _stalled(self, interval_usec: int) -> bool:
        late_usec = time.monotonic_ns() // 1000 - self._last_tick_usec
        return bool(self._last_tick_usec) and late_usec > STALLED_TICKS * interval_usec + interval_usec

    # -- the fast loop

    def _choose_fast(self, controlled: Mapping[int, Container], samples: Mapping[int, Sample]) -> tuple[Container, ...]:
        """Return the containers that are throttled most among those that have a fast controller."""
        fast = [one for one in controlled.values() if self._fast_names(one)]
        return tuple(sorted(fast, key=lambda one: -_throttled(samples.get(one.inode)))[:FAST_AT_ONCE])

    def _fast_names(self, container: Container) -> list[str]:
        controls = self._wants.policed(container).controls
        return [name for name, one in controls.items() if one.settings.interval_usec < TICK_USEC]

    async def _fast_step(self) -> None:
        looked_at = self._fast
        samples = await self._sampling.sample(((one, self._fast_signals(one)) for one in looked_at), stream="fast")
        world = World(
            now_usec=time.monotonic_ns() // 1000,
            host=NO_SAMPLE,
            subjects=dict(self._subjects_of(looked_at, samples)),
        )
        self._take(self.engine.step(world, fast=True))

    def _fast_signals(self, container: Container) -> frozenset[str]:
        return frozenset(s for name in self._fast_names(container) for s in controllers.BY_NAME[name].signals)

    # -- what comes of it

    def _take(self, outcome: Outcome) -> None:
        by_inode = {one.inode: one for one in self._containers()}
        for inode in outcome.changed:
            self._wants.feed(inode, self.engine.combined(inode).settings)
            if inode in by_inode:
                self._look_at(by_inode[inode])
        told = tuple(
            (by_inode[step.inode], step) for step in outcome.steps if step.inode in by_inode and self._is_news(step)
        )
        for _, step in told:
            self.last[step.inode, step.controller] = step
        if told:
            self._publish(told)
        for step in outcome.orders:
            if step.inode in by_inode and not isinstance(step.act, Notify):
                self._background(self._carry_out(by_inode[step.inode], step))

    def _is_news(self, step: Step) -> bool:
        """Return whether a step tells more than the one before: what fails each tick alike is told once."""
        last = self.last.get((step.inode, step.controller))
        again = last is not None and (last.kind, last.reason) == (step.kind, step.reason)
        return not (again and step.kind in (StepKind.FAILED, StepKind.BUDGET, StepKind.RECOMMENDED))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._carrying_out.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._carrying_out.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("%s", task.exception())

    async def _carry_out(self, container: Container, step: Step) -> None:
        """Carry one act out, unless the container is protected or the host only observes."""
        assert isinstance(step.act, (Reclaim, Kill))
        why = self._protected(container)
        if why is not None or self._wants.mode is Mode.OBSERVE:
            return
        try:
            words = await self._acts.carry_out(container, step.act)
        except Gone:
            return
        except (ActuationError, Unsupported) as error:
            self._tell(container, step, StepKind.FAILED, str(error))
            return
        if isinstance(step.act, Kill):
            self._tell(container, step, StepKind.DONE, f"{words}: {step.reason}")

    def _tell(self, container: Container, step: Step, kind: StepKind, reason: str) -> None:
        done = Step(
            kind=kind,
            time_usec=time.monotonic_ns() // 1000,
            controller=step.controller,
            inode=step.inode,
            reason=reason,
            source=step.source,
            mode=step.mode,
        )
        self.last[step.inode, step.controller] = done
        self._publish(((container, done),))


def _throttled(sample: Sample | None) -> float:
    return (sample.get("cpu.throttled_ratio") if sample is not None else None) or 0.0
