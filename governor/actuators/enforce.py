"""One container's limits, at every site that they go to, in the order in which the kernel takes them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from governor.actuators import nested, sites
from governor.actuators.apply import Circumstances, Result, Want
from governor.actuators.writers import FileWriter, Site, UnitWriter
from governor.kernel import limits
from governor.model.directives import FREEZE
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.lease import Hold
from governor.model.tick import Change, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from governor.actuators.apply import Applier
    from governor.actuators.ledger import Ledger
    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import Cgroup, CgroupRoot
    from governor.model.container import Container
    from governor.model.lease import Lease, Target
    from governor.model.policy import Setting
    from governor.model.values import Value


NOTHING_LACKING: Mapping[str, str] = MappingProxyType({})
NO_BURST = "there is no cpu.max.burst here: the kernel lacks it, or nothing sets a CPUQuota for this container"


class DeviceGuard(Protocol):
    """Tells whether a write to a unit would take a device away from the container in it."""

    async def refusal(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> str | None:
        """Return why the unit must not be written, in words, or None."""

    async def prepare(self, container: Container, cgroup: Cgroup, systemd: Systemd) -> None:
        """Find out early what refusal() will need."""

    def forget(self, inode: int) -> None:
        """Drop what is known of a container that ended."""


@dataclass(slots=True)
class Held:
    """What is kept open of a governed container, and what its files said when all was well."""

    container: Container
    scope: Cgroup
    payload: Cgroup | None
    seen: tuple[tuple[Cgroup, str, bytes | None], ...] = ()
    """The files of what is leased, and what they said when all was as it should be."""
    nested: dict[str, Value] = field(default_factory=dict)
    """The caps of the payload's cgroup as they were last: the runtime's, raised by us, or somebody else's."""

    def close(self) -> None:
        """Close every descriptor."""
        self.scope.close()
        if self.payload is not None:
            self.payload.close()


class Enforcer:
    """Enforces settings on containers. `manager` returns the systemd of a uid (None = the system's), or raises.

    `lacking` are the properties that no manager here can enforce, and why.
    """

    def __init__(
        self,
        *,
        root: CgroupRoot,
        host: limits.Host,
        ledger: Ledger,
        applier: Applier,
        manager: Callable[[int | None], Awaitable[Systemd]],
        guard: DeviceGuard,
        lacking: Mapping[str, str] = NOTHING_LACKING,
    ) -> None:
        self._root = root
        self._host = host
        self._ledger = ledger
        self._applier = applier
        self._manager = manager
        self._guard = guard
        self._lacking = lacking
        self._files = FileWriter(host)
        self._held: dict[int, Held] = {}

    async def enforce(
        self, container: Container, settings: Mapping[str, Setting], circumstances: Circumstances
    ) -> list[Change]:
        """Return what changed. Raises Gone where the container ended, ActuationError where nothing was written."""
        held = self.hold(container)
        settings, refused = self._possible(container, settings)
        now = self._caps_below(held)
        left = {} if circumstances.settling else nested.changed(held.nested, now, self._ledger.get(_main_target(held)))
        kept = {name: setting for name, setting in settings.items() if name not in left}
        results = [*await self._apply_beside(held, kept, circumstances, only_down=True)]
        wants, done = await self._apply_main(held, kept, circumstances)
        results += self._stand_aside(held, settings, left, now, done)
        raised = await self._apply_payload(held, wants, circumstances)
        results += raised + await self._apply_beside(held, kept, circumstances, only_down=False)
        self._note_caps(held, now, left, {result.property for result in raised})
        self._remember(held)
        return [*refused, *(_change(container, result) for result in results)]

    def drifted(self, container: Container) -> bool:
        """Return whether any file that we hold differs from when it was last as it should be. Raises Gone."""
        held = self._held.get(container.inode)
        if held is None:
            return False
        return any(cgroup.read_bytes(file) != said for cgroup, file, said in held.seen)

    async def prepare(self, container: Container) -> None:
        """Find out what the first write will need, while the container is still being made. Raises nothing."""
        if container.unit:
            with suppress(Gone, ActuationError, Unsupported):
                await self._guard.prepare(container, self.hold(container).scope, await self._manager(container.user))

    def hold(self, container: Container) -> Held:
        """Return the container's opened cgroups, opening them where this is the first look. Raises Gone."""
        held = self._held.get(container.inode)
        if held is None:
            held = self._open(container)
            self._held[container.inode] = held
        elif held.payload is None and container.payload:
            with suppress(Gone):
                held.payload = self._root.open(container.payload)
        held.container = container
        return held

    def release(self, inode: int) -> None:
        """Close what is held of a container that ended."""
        self._guard.forget(inode)
        held = self._held.pop(inode, None)
        if held is not None:
            held.close()

    def unyield(self, container: Container) -> None:
        """End the leases on which we stand aside, so that what is wanted is taken up again from what is there now."""
        for target in self.targets_of(container):
            entry = self._ledger.get(target)
            kept = {name: lease for name, lease in entry.leases.items() if lease.hold is Hold.HELD}
            if len(kept) != len(entry.leases):
                self._ledger.put(replace(entry, leases=kept))

    def leases_of(self, container: Container) -> Iterator[tuple[Target, Mapping[str, Lease]]]:
        """Yield the target and leases of every site of `container` that has any."""
        for target in self.targets_of(container):
            entry = self._ledger.get(target)
            if entry.leases:
                yield target, entry.leases

    def _possible(
        self, container: Container, settings: Mapping[str, Setting]
    ) -> tuple[dict[str, Setting], list[Change]]:
        """Return the settings that mean something on this host and site, and a refusal for each that does not."""
        possible, refused = {}, []
        for name, setting in settings.items():
            why = self._impossible(container, name, setting)
            if why:
                refused.append(refused_change(container, name, setting, why))
            else:
                possible[name] = setting
        return possible, refused

    def _impossible(self, container: Container, name: str, setting: Setting) -> str:
        """Return why `setting` means nothing here, or "" where it does mean something."""
        if name in self._lacking:
            return self._lacking[name]
        if not container.unit and name not in limits.FILES:
            return "it has no systemd unit, and the kernel has no file for this"
        if container.user is not None and not container.transient:
            return "a persistent unit of a user's manager keeps its drop-ins where only that user may write"
        try:
            limits.canonical(name, setting.value, self._host)
        except ActuationError as error:
            return str(error)
        return ""

    def _open(self, container: Container) -> Held:
        scope = self._root.open(container.cgroup)
        if scope.inode != container.inode:
            scope.close()
            raise Gone(f"{container.cgroup!r} is another cgroup by now")
        payload = None
        if container.payload:
            with suppress(Gone):
                payload = self._root.open(container.payload)
        return Held(container, scope, payload)

    async def _apply_main(
        self, held: Held, settings: Mapping[str, Setting], circumstances: Circumstances
    ) -> tuple[dict[str, Want], list[Result]]:
        target = _main_target(held)
        entry = self._ledger.get(target)
        main = {name: setting for name, setting in settings.items() if name != sites.BURST}
        if held.container.unit:
            main.pop(FREEZE, None)
        wants = sites.canonical_wants(main, entry, self._host)
        burst = None if held.container.unit else self._burst(held, settings)
        if burst is not None:
            wants[sites.BURST] = burst
        if not wants and not entry.leases:
            return wants, []
        site = Site(target, held.scope)
        if not held.container.unit:
            return wants, await self._applier.apply(site, self._files, wants, circumstances)
        systemd = await self._manager(held.container.user)
        refusal = await self._guard.refusal(held.container, held.payload or held.scope, systemd) if wants else None
        if refusal:
            return {}, [_refused(name, want, refusal) for name, want in wants.items()]
        return wants, await self._applier.apply(site, UnitWriter(systemd, self._host), wants, circumstances)

    async def _apply_payload(self, held: Held, wants: Mapping[str, Want], circumstances: Circumstances) -> list[Result]:
        if held.payload is None:
            return []
        site = Site(sites.file_target(held.container.payload, held.payload.inode), held.payload)
        main, entry = self._ledger.get(_main_target(held)).leases, self._ledger.get(site.target)
        ours = {name: want for name, want in wants.items() if name not in main or main[name].hold is Hold.HELD}
        try:
            caps = limits.read_limits(held.payload, self._host, sites.CAPS)
            raised = sites.payload_wants(ours, caps, entry)
            return await self._applier.apply(site, self._files, raised, circumstances)
        except Gone:
            held.payload = None
            return []

    def _caps_below(self, held: Held) -> dict[str, Value]:
        if held.payload is not None:
            with suppress(Gone):
                return limits.read_limits(held.payload, self._host, sites.CAPS)
        return {}

    def _stand_aside(
        self,
        held: Held,
        settings: Mapping[str, Setting],
        left: Mapping[str, Lease],
        now: Mapping[str, Value],
        done: list[Result],
    ) -> list[Result]:
        """Yield what was changed below the scope, once the scope's own value is restored; return what to report."""
        if not left:
            return done
        entry = self._ledger.get(_main_target(held))
        asked = {name: setting for name, setting in settings.items() if name in left}
        wants = sites.canonical_wants(asked, entry, self._host)
        yielded = nested.stand_aside(entry, wants, left, time.time_ns() // 1000)
        self._ledger.put(yielded)
        over = [name for name in wants if yielded.leases[name].hold is Hold.YIELDED]
        others = [result for result in done if result.property not in over]
        return others + [nested.result(wants[name], left[name], now[name]) for name in over]

    def _note_caps(self, held: Held, now: dict[str, Value], left: Mapping[str, Lease], raised: set[str]) -> None:
        """Remember the caps below the scope: `now`, but our own writes, and what is still to be given up."""
        main = self._ledger.get(_main_target(held)).leases
        ours = {name: value for name, value in self._caps_below(held).items() if name in raised}
        to_come = {name: held.nested[name] for name in left if name in main and main[name].hold is Hold.HELD}
        held.nested = {**now, **ours, **to_come}

    def _burst(self, held: Held, settings: Mapping[str, Setting]) -> Want | None:
        return sites.burst_want(settings, self._current_burst(held), self._ledger.get(self._burst_target(held)))

    def _current_burst(self, held: Held) -> Value | None:
        return limits.read_limits(held.scope, self._host, (sites.BURST,)).get(sites.BURST)

    async def _apply_beside(
        self, held: Held, settings: Mapping[str, Setting], circumstances: Circumstances, *, only_down: bool
    ) -> list[Result]:
        """Apply what is written as a file beside a unit: before the quota where the burst shrinks, and after it.

        cpu.max.burst exists only once the unit has the cpu controller, which the first quota brings.
        """
        if not held.container.unit:
            return []
        current, want = self._current_burst(held), self._burst(held, settings)
        lease = self._ledger.get(self._burst_target(held)).leases.get(sites.BURST)
        goal = want.value if want else (lease.original if lease else current)
        shrinks = isinstance(goal, int) and isinstance(current, int) and goal < current
        if only_down and not shrinks:
            return []
        asked, wants = settings.get(sites.BURST), {} if want is None else {sites.BURST: want}
        refused = []
        if current is None and asked is not None:
            refused = [_refused(sites.BURST, Want(value=asked.value, setting=asked), NO_BURST)]
            wants = {}
        if FREEZE in settings:
            wants[FREEZE] = Want(value=settings[FREEZE].value, setting=settings[FREEZE])
        site = Site(self._burst_target(held), held.scope)
        return [*refused, *await self._applier.apply(site, self._files, wants, circumstances)]

    @staticmethod
    def _burst_target(held: Held) -> Target:
        return sites.file_target(held.container.cgroup, held.scope.inode)

    def targets_of(self, container: Container) -> Iterator[Target]:
        """Yield every target that `container` may have leases on."""
        unit = sites.unit_target(container)
        if unit is not None:
            yield unit
        yield sites.file_target(container.cgroup, container.inode)
        with suppress(Gone):
            held = self.hold(container)
            if held.payload is not None:
                yield sites.file_target(container.payload, held.payload.inode)

    def _watched(self, held: Held) -> Iterator[tuple[Cgroup, str]]:
        for target, leases in self.leases_of(held.container):
            cgroup = held.payload if held.payload is not None and target.inode == held.payload.inode else held.scope
            for name in leases:
                file = limits.FILES.get(name)
                if file:
                    yield cgroup, file
                if file and name in sites.CAPS and held.payload is not None:
                    yield held.payload, file

    def _remember(self, held: Held) -> None:
        files = dict.fromkeys(self._watched(held))
        held.seen = tuple((cgroup, file, cgroup.read_bytes(file)) for cgroup, file in files)


def _main_target(held: Held) -> Target:
    return sites.unit_target(held.container) or sites.file_target(held.container.cgroup, held.scope.inode)


def refused_change(container: Container, name: str, setting: Setting, why: str) -> Change:
    """Return the change that says that `setting` must not be written."""
    return Change(
        container=container,
        property=name,
        old=None,
        new=setting.value,
        source=setting.source,
        reason=setting.reason,
        outcome=Outcome.REFUSED,
        detail=why,
    )


def _refused(name: str, want: Want, why: str) -> Result:
    return Result(
        property=name,
        old=None,
        new=want.value,
        outcome=Outcome.REFUSED,
        source=want.setting.source,
        reason=want.setting.reason,
        detail=why,
    )


def _change(container: Container, result: Result) -> Change:
    return Change(
        container=container,
        property=result.property,
        old=result.old,
        new=result.new,
        source=result.source,
        reason=result.reason,
        outcome=result.outcome,
        detail=result.detail,
    )
