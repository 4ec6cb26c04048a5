"""The wiring: what hears of what, and in which order the daemon comes up."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from governor.actuators.devices import Devices
from governor.actuators.enforce import Enforcer
from governor.actuators.observe import Observer
from governor.bus.rules import owner_rule
from governor.bus.systemd import NAME as SYSTEMD_NAME
from governor.exporters import messages
from governor.exporters.journal import display_name
from governor.kernel.process import cgroup_of
from governor.model.errors import PolicyError
from governor.policy.relevant import names_unit
from governor.service import dead_man
from governor.service.api import Api
from governor.service.discovery import Discovery
from governor.service.doctor import Doctor
from governor.service.feedback import FAST_INTERVAL_SEC
from governor.service.feedback_parts import feedback
from governor.service.governor import Governor
from governor.service.learned import Learned
from governor.service.neighbours import Neighbours
from governor.service.notify import Notifier
from governor.service.orphans import Orphans
from governor.service.watch import PolicyWatch

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from governor.bus.messages import Signal
    from governor.exporters.journal import Journal
    from governor.model.container import Container
    from governor.model.errors import Problem
    from governor.model.policy import Mode
    from governor.policy.load import PolicySet
    from governor.service.host import HostParts
    from governor.service.paths import Paths
    from governor.service.policies import Policies
    from governor.service.wants import Wants

log = logging.getLogger(__name__)

NEIGHBOURS_EVERY_SEC = 60.0
LEAST_PAUSE_SEC = 0.1


class Daemon:
    """One run of the daemon."""

    def __init__(self, parts: HostParts, paths: Paths, journal: Journal, policies: Policies, wants: Wants) -> None:
        self._parts = parts
        self._paths = paths
        self._journal = journal
        self._policies = policies
        self._wants = wants
        self._notifier = Notifier()
        self._neighbours = Neighbours(parts.systemd)
        self._enforcer = Enforcer(
            root=parts.root,
            host=parts.host,
            ledger=parts.ledger,
            applier=parts.applier,
            manager=parts.managers.get,
            guard=Devices(),
            lacking=parts.lacking,
        )
        observer = Observer(parts.host, lambda container: self._enforcer.hold(container).scope)
        self._governor = Governor(wants, self._enforcer, observer, self._neighbours, cgroup_of(os.getpid()))
        self._governor.on_reload = self._read
        self._governor.on_mode = self._mode_set
        self._governor.on_conflict = self._conflict
        self._discovery = Discovery(
            parts.root, parts.managers.get, self._relevant, self._governor.container_changed, wants.users
        )
        self._governor.on_settled = self._discovery.look_again
        self._orphans = Orphans(parts.ledger, parts.restorer, self._enforcer, self._relevant)
        self._doctor = Doctor(parts, self._neighbours)
        self._api = Api(parts.bus, self._governor, self._doctor)
        self._governor.subscribe(journal.publish)
        self._tasks: set[asyncio.Task[None]] = set()
        self._nudge = asyncio.Event()
        self._failed = ""
        self._learned = Learned(paths.learned)
        self._feedback = feedback(parts, self._learned, wants, self._enforcer, self._governor, journal, self._nudge.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Come up, work until `stop` is set, and leave everything to what comes after (ExecStopPost=)."""
        await self._come_up()
        watch = PolicyWatch(self._policies.watched(), self._changed_on_disk)
        try:
            await self._work(stop)
        finally:
            self._notifier.stopping()
            watch.close()
            await self._discovery.close()
            await self._feedback.close()
            await self._governor.close()
            for task in self._tasks:
                task.cancel()

    def reload_asked(self) -> None:
        """Answer SIGHUP, which `systemctl reload` sends."""
        self._notifier.reloading()
        self._spawn(self._reload_and_say())

    async def _come_up(self) -> None:
        systemd = self._parts.systemd
        await asyncio.to_thread(self._learned.load)
        await self._tell_neighbours()
        await systemd.subscribe(
            unit_new=lambda unit, _path: self._discovery.unit_seen(unit, settled=False),
            unit_removed=lambda unit, _path: self._discovery.unit_removed(unit),
            job_removed=lambda _job, unit, _result: self._discovery.unit_seen(unit, settled=True),
            reloading=self._reloading,
        )
        self._parts.bus.on_restored(self._bus_back)
        self._parts.bus.on_lost(lambda why: self._journal.log(messages.BUS_LOST, f"system bus lost: {why}"))
        await self._parts.bus.listen(owner_rule(SYSTEMD_NAME), self._systemd_anew)
        await self._discovery.scan()
        await self._governor.quiet()
        await self._restore_orphans()
        await self._api.start()
        await dead_man.cancel(systemd)
        self._governor.features_found = await self._doctor.features()
        self._journal.log(messages.STARTED, self._status())
        self._notifier.ready(self._status())

    async def _work(self, stop: asyncio.Event) -> None:
        self._spawn(self._nudge_on(stop))
        interval_sec = self._wants.settings.interval_usec / 1e6
        due = time.monotonic()
        self._spawn(self._run_fast())
        scan_due = due + self._wants.settings.resync_usec / 1e6
        neighbours_due = due + NEIGHBOURS_EVERY_SEC
        while not stop.is_set():
            await self._governor.tick()
            await self._own_turn(self._feedback.tick(self._wants.settings.interval_usec))
            self._notifier.alive()
            now = time.monotonic()
            if now >= scan_due:
                scan_due = now + self._wants.settings.resync_usec / 1e6
                self._spawn(self._resync())
            if now >= neighbours_due:
                neighbours_due = now + NEIGHBOURS_EVERY_SEC
                self._spawn(self._tell_neighbours())
            due = max(due + interval_sec, now)
            await self._pause(due - now)

    async def _run_fast(self) -> None:
        while True:
            await asyncio.sleep(FAST_INTERVAL_SEC)
            await self._own_turn(self._feedback.fast_tick())

    async def _own_turn(self, work: Coroutine[None, None, None]) -> None:
        """Let a part that fails lose its own turn and nothing else; the same failure is told once."""
        try:
            await work
        except Exception as error:  # limits, watchdog and API must go on whatever feedback does
            if repr(error) != self._failed:
                self._failed = repr(error)
                self._journal.log(messages.PART_FAILED, f"feedback failed and goes on: {error!r}")
                log.debug("feedback failed", exc_info=error)

    async def _nudge_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._nudge.set()

    async def _pause(self, seconds: float) -> None:
        """Wait until the next tick is due, or until something calls for it early; never less than a tenth of a second.

        What wakes may come in floods (memory.events of a container at its limit): the pause bounds what that costs.
        """
        await asyncio.sleep(min(seconds, LEAST_PAUSE_SEC))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._nudge.wait(), max(seconds - LEAST_PAUSE_SEC, 0.01))
        self._nudge.clear()

    def _relevant(self, path: str) -> bool:
        return names_unit(self._wants.policies, path.rpartition("/")[2])

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._journal.log(messages.PART_FAILED, f"a part failed and goes on: {task.exception()!r}")

    async def _resync(self) -> None:
        await self._discovery.scan()
        await self._restore_orphans()
        self._notifier.status(self._status())

    async def _restore_orphans(self) -> None:
        for words in await self._orphans.restore(self._discovery.containers()):
            self._journal.log(messages.RESTORE_INCOMPLETE, words)

    async def _tell_neighbours(self) -> None:
        for neighbour in await self._neighbours.refresh():
            self._journal.log(messages.OTHER_OWNER, f"{neighbour.name} is active: it {neighbour.acts}")

    # -- policies

    def _read(self) -> PolicySet:
        return self._policies.read()

    async def _changed_on_disk(self) -> None:
        try:
            await self._governor.reload()
        except PolicyError:
            self._notifier.status("policies on disk are refused (see the journal); the last good set is in force")
            return
        await self._after_reload()

    async def _after_reload(self) -> None:
        text = f"{len(self._wants.policies)} policies in force, mode {self._governor.mode}"
        self._journal.log(messages.POLICIES_LOADED, text)
        await self._resync()

    async def _reload_and_say(self) -> None:
        await self._changed_on_disk()
        self._notifier.ready(self._status())

    def _conflict(self, container: Container, problems: tuple[Problem, ...]) -> None:
        text = "\n".join(problem.render() for problem in problems)
        name = display_name(container)
        self._journal.log(
            messages.POLICY_CONFLICT, f"{name} keeps what it had, its policies contradict each other:\n{text}"
        )

    def _mode_set(self, mode: Mode) -> None:
        self._journal.log(messages.MODE_CHANGED, f"mode is now {mode}")
        try:
            self._paths.mode.write_text(f"{mode}\n")
        except OSError as error:
            self._journal.log(messages.FEATURE_OFF, f"the mode will not last over a restart: {error}")

    # -- systemd

    def _reloading(self, begins: bool) -> None:
        if not begins:
            self._governor.systemd_applied_again()

    def _systemd_anew(self, signal: Signal) -> None:
        if signal.body[2]:
            self._governor.systemd_applied_again()
            self._discovery.scan_soon()

    def _bus_back(self) -> None:
        self._governor.systemd_applied_again()
        self._discovery.scan_soon()

    def _status(self) -> str:
        governed = sum(1 for container in self._governor.containers() if self._governor.policies_of(container))
        return (
            f"{self._governor.mode}: {len(self._wants.policies)} policies, "
            f"{governed} of {len(self._governor.containers())} containers governed"
        )
