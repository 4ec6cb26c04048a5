"""The heart of the daemon: containers come, what they shall hold is worked out, enforced, watched and explained."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from governor.actuators import protect
from governor.actuators.apply import Circumstances
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.lease import Hold
from governor.model.policy import Mode, Setting
from governor.model.tick import Change, Explanation, Outcome, Tick
from governor.service import payload
from governor.service.changes import Changes, failed_change
from governor.service.explain import explanation
from governor.service.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from governor.actuators.enforce import Enforcer
    from governor.actuators.observe import Observer
    from governor.model.container import Container
    from governor.model.errors import Problem
    from governor.model.lease import Lease
    from governor.model.policy import Policy
    from governor.model.step import Step
    from governor.model.values import Value
    from governor.policy.load import PolicySet
    from governor.service.neighbours import Neighbours
    from governor.service.wants import Wants

log = logging.getLogger(__name__)

REVERTED_SEC = 3.0
"""How long after a daemon-reload a value that is the original again counts as systemd's doing."""
QUIET_LIMIT_SEC = 10.0


class Governor:
    """Implements service.api.Core. All methods run on the event loop; `reload_policies` is given by the wiring."""

    def __init__(
        self,
        wants: Wants,
        enforcer: Enforcer,
        observer: Observer,
        neighbours: Neighbours,
        own_cgroup: str,
    ) -> None:
        self._wants = wants
        self._enforcer = enforcer
        self._changes = Changes(enforcer, observer, neighbours, self.protected)
        self._own_cgroup = own_cgroup
        self._containers: dict[int, Container] = {}
        self._records: dict[int, Record] = {}
        self._subscribers: list[Callable[[Tick], None]] = []
        self._work: dict[int, asyncio.Task[None]] = {}
        self._reverted_until = 0.0
        self._tick_usec = 0
        self.on_reload: Callable[[], PolicySet] | None = None
        self.on_mode: Callable[[Mode], None] | None = None
        self.on_settled: Callable[[int], None] | None = None
        """Told the inode of a container whose payload has begun to run."""
        self.on_conflict: Callable[[Container, tuple[Problem, ...]], None] | None = None
        self.on_known: Callable[[Container], None] | None = None
        """Told of a container that was found or became better known, before it is looked at. May raise Gone."""
        self.feedback_of: Callable[[Container], Iterable[Explanation]] = lambda _container: ()
        """What feedback has to say in `explain`."""
        self.features_found: tuple[str, ...] = ()

    # -- what discovery tells

    def container_changed(self, before: Container | None, after: Container | None) -> None:
        """Take a container that came, went or became better known."""
        if after is None:
            assert before is not None
            self._forget(before)
            self._publish(removed=(before,))
            return
        self._containers[after.inode] = after
        if before is None:
            self._records[after.inode] = Record(since=time.monotonic())
            self._wants.adopt(after, self._enforcer.leases_of(after))
            self._publish(added=(after,))
        self._wants.update(after)
        if self.on_known is not None:
            with suppress(Gone):
                self.on_known(after)
        self.look_at(after)

    def tell(self, steps: tuple[tuple[Container, Step], ...]) -> None:
        """Tell the subscribers what feedback did."""
        self._publish(steps=steps)

    def look_at(self, container: Container) -> None:
        """Reconcile `container` soon; a round that is under way is followed by another."""
        task = self._work.get(container.inode)
        if task is not None and not task.done():
            self._records[container.inode].asked = True
            return
        self._work[container.inode] = task = asyncio.create_task(self._attend(container.inode))
        task.add_done_callback(_log_failure)

    def systemd_applied_again(self) -> None:
        """Verify everything: systemd has just written its configuration to every cgroup (Reloading, daemon-reexec)."""
        self._reverted_until = time.monotonic() + REVERTED_SEC
        for container in self.containers():
            self.look_at(container)

    # -- the tick

    async def tick(self) -> None:
        """Look at every governed container's files; reconcile those that differ, that failed or whose time is up."""
        started = time.monotonic_ns() // 1000
        now_usec = time.time_ns() // 1000
        for container in self.containers():
            if self._due(container, now_usec):
                self.look_at(container)
        self._tick_usec = time.monotonic_ns() // 1000 - started

    def _due(self, container: Container, now_usec: int) -> bool:
        record = self._records[container.inode]
        ends = self._wants.next_end_usec(container)
        now = time.monotonic()
        if record.due(now) or (ends and ends <= now_usec):
            return True
        try:
            return not record.blind(now) and self._enforcer.drifted(container)
        except Gone:
            return False

    async def quiet(self) -> None:
        """Return once no container is being looked at, or 10 s have passed."""
        pending = [task for task in self._work.values() if not task.done()]
        if pending:
            await asyncio.wait(pending, timeout=QUIET_LIMIT_SEC)

    async def close(self) -> None:
        """End what is under way; what was written stays, and stands in the ledger."""
        for task in self._work.values():
            task.cancel()
        await asyncio.gather(*self._work.values(), return_exceptions=True)

    # -- one container

    async def _attend(self, inode: int) -> None:
        record = self._records[inode]
        await payload.started(lambda: self._containers.get(inode), record, self._enforcer)
        while True:
            record.asked = False
            await self._look(inode, record)
            if not record.settled:
                record.settled = True
                if self.on_settled is not None:
                    self.on_settled(inode)
            if not record.asked:
                return

    async def _look(self, inode: int, record: Record) -> None:
        record.again_at = None
        try:
            await self._reconcile(inode, record)
        except Exception:
            record.broke_off(time.monotonic())
            raise

    async def _reconcile(self, inode: int, record: Record) -> None:
        container = self._containers.get(inode)
        if container is None or self._too_early(container):
            return
        wanted = self._wants.of(container)
        if wanted.problems != record.problems:
            record.problems = wanted.problems
            self._tell_conflict(container, wanted.problems)
        reverted = time.monotonic() < self._reverted_until
        try:
            changes = await self._changes.make(container, wanted.settings, Circumstances(reverted=reverted))
        except Gone:
            return
        except (ActuationError, Unsupported) as error:
            record.broke_off(time.monotonic())
            self._report(record, [failed_change(container, name, s, str(error)) for name, s in wanted.settings.items()])
            return
        record.finished((change.outcome for change in changes), time.monotonic())
        self._report(record, changes)

    def _too_early(self, container: Container) -> bool:
        """Return whether an earlier daemon's leases could be taken for unwanted, only because the name is not known."""
        return not container.described and not self._leases_are_ours(container)

    def _leases_are_ours(self, container: Container) -> bool:
        """Return whether this process has set what is leased on `container`, or nothing is."""
        record = self._records.get(container.inode)
        return bool(record and record.last) or not self._leases(container)

    def _tell_conflict(self, container: Container, problems: tuple[Problem, ...]) -> None:
        if problems and self.on_conflict is not None:
            self.on_conflict(container, problems)

    def _report(self, record: Record, changes: list[Change]) -> None:
        for change in changes:
            record.last[change.property] = change
        if changes:
            self._publish(changes=tuple(changes))

    def _forget(self, container: Container) -> None:
        self._containers.pop(container.inode, None)
        self._records.pop(container.inode, None)
        self._wants.forget(container)
        self._enforcer.release(container.inode)
        task = self._work.pop(container.inode, None)
        if task is not None:
            task.cancel()

    def _publish(
        self,
        added: tuple[Container, ...] = (),
        removed: tuple[Container, ...] = (),
        changes: tuple[Change, ...] = (),
        steps: tuple[tuple[Container, Step], ...] = (),
    ) -> None:
        tick = Tick(
            started_usec=time.monotonic_ns() // 1000,
            duration_usec=self._tick_usec,
            containers=self.containers(),
            added=added,
            removed=removed,
            changes=changes,
            steps=steps,
        )
        for subscriber in self._subscribers:
            subscriber(tick)

    # -- service.api.Core

    def subscribe(self, on_tick: Callable[[Tick], None]) -> None:
        """Call `on_tick` with everything that happens from now on."""
        self._subscribers.append(on_tick)

    def containers(self) -> tuple[Container, ...]:
        """Return every container that is known."""
        return tuple(self._containers.values())

    def policies(self) -> Sequence[Policy]:
        """Return the policies in force, in the order in which they apply."""
        return self._wants.policies

    def policies_of(self, container: Container) -> Sequence[str]:
        """Return the names of the policies that match `container`."""
        return self._wants.of(container).policies

    def limits_of(self, container: Container) -> Mapping[str, Value]:
        """Return what the kernel holds for us on `container`, by property."""
        return {name: lease.applied for name, lease in self._leases(container) if _in_force(lease)}  # type: ignore[misc]

    def originals_of(self, container: Container) -> Mapping[str, Value]:
        """Return what will be restored on `container`, by property."""
        return {name: lease.original for name, lease in self._leases(container) if lease.hold is Hold.HELD}

    def explain(self, container: Container) -> Sequence[Explanation]:
        """Return every limit of `container` that is wanted, held or yielded."""
        settings = self._wants.of(container).settings
        leases = dict(self._leases(container))
        record = self._records.get(container.inode)
        last = record.last if record else {}
        return [
            *(
                explanation(name, settings.get(name), leases.get(name), last.get(name))
                for name in sorted({*settings, *leases})
            ),
            *self.feedback_of(container),
        ]

    def protected(self, container: Container) -> str | None:
        """Return why `container` is never written, in words, or None."""
        return protect.refusal(container, self._wants.settings, self._own_cgroup)

    async def reload(self) -> None:
        """Read the policies anew and swap the whole set, or raise PolicyError and change nothing."""
        if self.on_reload is not None:
            self.use(await asyncio.to_thread(self.on_reload))

    def use(self, policies: PolicySet) -> None:
        """Swap the policies and look at every container."""
        self._wants.use(policies)
        for container in self.containers():
            self._wants.update(container)
            self.look_at(container)

    async def set_limits(self, container: Container, limits: Mapping[str, Value], lease_usec: int, uid: int) -> None:
        """Put `limits` on `container` for `lease_usec` (0 = until released) and wait for the kernel to show them.

        Raises Gone, Unsupported where the host observes only, ActuationError where the kernel did not take them.
        """
        if self.mode is Mode.OBSERVE:
            raise Unsupported("the host's mode is observe: nothing is written (governorctl mode enforce)")
        now_usec = time.time_ns() // 1000
        setting = Setting(
            value=0,
            source=f"user:{uid}",
            reason=f"set by uid {uid}",
            until_usec=now_usec + lease_usec if lease_usec else 0,
        )
        self._wants.set_by_hand(container, {name: replace(setting, value=value) for name, value in limits.items()})
        await self._finish(container, limits)

    async def release(self, container: Container) -> None:
        """Drop what was set by hand on `container` and take up again what had yielded."""
        self._wants.release(container)
        self._enforcer.unyield(container)
        await self._finish(container, ())

    async def set_mode(self, mode: Mode) -> None:
        """Cap every policy by `mode`, until the next boot or call."""
        self._wants.set_mode(mode)
        if self.on_mode is not None:
            self.on_mode(mode)
        for container in self.containers():
            self._wants.update(container)
            self.look_at(container)

    @property
    def mode(self) -> Mode:
        """The host's mode, which caps every policy's."""
        return self._wants.mode

    def features(self) -> Sequence[str]:
        """Return the names of the host's features that are in use."""
        return self.features_found

    @property
    def last_tick_usec(self) -> int:
        """How long the last tick took, in µs."""
        return self._tick_usec

    async def _finish(self, container: Container, properties: Mapping[str, Value] | tuple[()]) -> None:
        """Reconcile now, and raise what became of `properties` where it is not what was asked."""
        record = self._records.get(container.inode)
        if record is None:
            raise Gone(f"{container.key} is gone")
        self.look_at(container)
        await asyncio.wait([self._work[container.inode]])
        for name in properties:
            change = record.last.get(name)
            if change is not None and change.outcome in (Outcome.REFUSED, Outcome.FAILED):
                self._wants.release(container)
                raise ActuationError(f"{name}: {change.detail}")

    def _leases(self, container: Container) -> list[tuple[str, Lease]]:
        """Return the leases of `container`, the scope's before the nested cgroup's."""
        found: dict[str, Lease] = {}
        for _, leases in self._enforcer.leases_of(container):
            for name, lease in leases.items():
                found.setdefault(name, lease)
        return list(found.items())


def _in_force(lease: Lease) -> bool:
    return lease.hold is Hold.HELD and lease.applied is not None


def _log_failure(task: asyncio.Task[None]) -> None:
    """Say what went wrong with one container; the next tick tries again, the others are not concerned."""
    if not task.cancelled() and task.exception() is not None:
        log.error("reconciling failed, tried again later: %s", task.exception(), exc_info=task.exception())
