"""systemd's manager on a bus (org.freedesktop.systemd1(5)): units' facts and limits, signals, jobs.

Unit names are data: they travel as strings or as escaped labels, never as parts of match rules or commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from governor.bus.bucket import TokenBucket
from governor.bus.codec import decode
from governor.bus.connection import Bus
from governor.bus.label import unit_of, unit_path
from governor.bus.library import Variant
from governor.bus.rules import Rule, owner_rule
from governor.bus.units import UnitFacts, UnitInfo, assignments, cgroup_interface, facts_from
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from governor.bus.messages import Signal
    from governor.model.values import Value

_log = logging.getLogger(__name__)

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
UNIT = "org.freedesktop.systemd1.Unit"
_PROPERTIES = "org.freedesktop.DBus.Properties"

WRITES_PER_SEC = 20.0
WRITES_AT_ONCE = 20
RELOAD_TIMEOUT_SEC = 90.0
"""daemon-reload of a host with many units takes seconds, and PID 1 answers only at its end."""
USER_TIMEOUT_SEC = 5.0
USER_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_GET_ALL_FROM = 16
"""From here on one GetAll is cheaper than a Get each: a scope has some 280 properties, decoded for nothing."""

_UNIT_FACTS = ("InvocationID", "Transient", "FragmentPath", "DropInPaths")
_CGROUP_FACTS = ("ControlGroup", "Slice", "Delegate")


def user_bus_address(uid: int, *, run: str = "/run") -> str:
    """Return the address of a user manager's private socket.

    Not the user's bus: dbus-daemon lets only its own user in, not even root (its default policy); systemd's own socket
    lets root and the user in (systemd's src/core/dbus.c, bus_check_peercred()) and speaks D-Bus without a bus daemon.
    """
    return f"unix:path={run}/user/{uid}/systemd/private"


async def connect_user_manager(uid: int, *, run: str = "/run") -> Bus:
    """Return a connection to the manager of user `uid`, bounded in time and size, as its owner may be hostile.

    The user could put a link to the system manager's socket there: the listener must run as that user. Raises
    Unsupported where there is no such manager, ActuationError where it does not answer.
    """
    return await Bus.connect(
        user_bus_address(uid, run=run),
        peer=True,
        peer_uid=uid,
        timeout_sec=USER_TIMEOUT_SEC,
        max_message_bytes=USER_MAX_MESSAGE_BYTES,
    )


class Systemd:
    """The manager behind `bus`. Every method raises as `Bus.call` does."""

    def __init__(
        self, bus: Bus, *, writes_per_sec: float = WRITES_PER_SEC, writes_at_once: int = WRITES_AT_ONCE
    ) -> None:
        self.bus = bus
        self._writes = TokenBucket(writes_per_sec, writes_at_once)
        self._subscribing: set[asyncio.Task[None]] = set()
        self._undo: list[Callable[[], None]] = []

    async def subscribe(
        self,
        *,
        unit_new: Callable[[str, str], None] | None = None,
        unit_removed: Callable[[str, str], None] | None = None,
        job_removed: Callable[[int, str, str], None] | None = None,
        reloading: Callable[[bool], None] | None = None,
    ) -> None:
        """Call back with (unit, path), (unit, path), (job, unit, result) and (begins, not ends) from now on.

        It holds over a reconnection and a new PID 1; what happened meanwhile is missed: use `bus.on_restored`, resync.
        """
        if unit_new is not None:
            await self._listen("UnitNew", "so", unit_new)
        if unit_removed is not None:
            await self._listen("UnitRemoved", "so", unit_removed)
        if job_removed is not None:
            await self._listen("JobRemoved", "uoss", lambda job, _path, unit, result: job_removed(job, unit, result))
        if reloading is not None:
            await self._listen("Reloading", "b", reloading)
        if not self._undo:
            self._undo.append(await self.bus.listen(owner_rule(NAME), self._owner_changed))
            self.bus.on_restored(self._subscribe_again)
        await self._subscribe()

    async def set_unit_properties(self, unit: str, values: Mapping[str, Value], *, runtime: bool = True) -> None:
        """Set all `values` (by property) on `unit` in one call; waits while too many were written of late."""
        pairs = assignments(values)
        await self._writes.take()
        await self._manager("SetUnitProperties", "sba(sv)", [unit, runtime, pairs])

    async def get_unit_by_control_group(self, cgroup: str) -> str:
        """Return the unit that `cgroup` belongs to: its own, or the unit around it."""
        [path] = await self._manager("GetUnitByControlGroup", "s", [cgroup])
        return unit_of(_typed(path, str))

    async def build_features(self) -> frozenset[str]:
        """Return what this systemd was built with, as `systemctl --version` has it: {"+SECCOMP", "-XKBCOMMON", …}."""
        [variant] = await self.bus.call(NAME, PATH, _PROPERTIES, "Get", "ss", [MANAGER, "Features"])
        return frozenset(_typed(_typed(variant, Variant).value, str).split())

    async def list_units(self, patterns: Sequence[str]) -> list[UnitInfo]:
        """Return the loaded units whose names match one of the globs."""
        [units] = await self._manager("ListUnitsByPatterns", "asas", [[], list(patterns)])
        return [
            UnitInfo(name=name, load=load, active=active, sub=sub, path=path)
            for name, _, load, active, sub, _, path, *_ in units
        ]

    async def unit_facts(self, unit: str) -> UnitFacts:
        """Return what decides how `unit` may be governed; Gone where it is not loaded."""
        await self._loaded(unit)
        interface = cgroup_interface(unit)
        wanted = [(UNIT, name) for name in _UNIT_FACTS] + [(interface, name) for name in _CGROUP_FACTS]
        values = await asyncio.gather(*(self._get(unit, interface, name) for interface, name in wanted))
        try:
            return facts_from({name: value.value for (_, name), value in zip(wanted, values, strict=True)})
        except (TypeError, ValueError) as malformed:
            raise ActuationError(f"{unit}: systemd's answer is not understood: {malformed}") from malformed

    async def get_limits(self, unit: str, properties: Iterable[str]) -> dict[str, Value]:
        """Return the present value of each property that this systemd has; Gone where `unit` is not loaded."""
        await self._loaded(unit)
        wanted = list(properties)
        found = await (self._get_all(unit, wanted) if len(wanted) >= _GET_ALL_FROM else self._get_each(unit, wanted))
        try:
            return {name: decode(name, value) for name, value in found.items()}
        except (TypeError, ValueError) as malformed:
            raise ActuationError(f"{unit}: systemd's answer is not understood: {malformed}") from malformed

    async def unit_job(self, unit: str) -> str | None:
        """Return the type of the job that is queued or running for `unit` (start, stop, restart …), or None."""
        await self._loaded(unit)
        job = await self._get(unit, UNIT, "Job")
        number, _ = job.value
        if not number:
            return None
        try:
            # built from the number, as the path in a reply of a user's manager is that user's to choose
            [kind] = await self.bus.call(
                NAME, f"{PATH}/job/{number}", _PROPERTIES, "Get", "ss", [f"{NAME}.Job", "JobType"]
            )
        except Gone:
            return None
        return str(_typed(_typed(kind, Variant).value, str))

    async def reload(self) -> None:
        """Make the manager read its unit files again (daemon-reload); returns when it has."""
        await self._manager("Reload", timeout_sec=RELOAD_TIMEOUT_SEC)

    async def start_transient_unit(
        self,
        name: str,
        properties: Sequence[tuple[str, Variant]],
        aux: Sequence[tuple[str, Sequence[tuple[str, Variant]]]] = (),
        *,
        mode: str = "fail",
    ) -> None:
        """Queue the start of a unit that exists only in memory, with the units it needs (`aux`)."""
        body = [name, mode, _pairs(properties), [[unit, _pairs(values)] for unit, values in aux]]
        await self._manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body)

    async def start_transient_timer(self, name: str, delay_usec: int, command: Sequence[str], description: str) -> None:
        """Run `command` once after `delay_usec`, as <name>.service by <name>.timer, whether or not we still live."""
        # a run that failed must not stay loaded and stand in the way of the next
        common = [("Description", Variant("s", description)), ("CollectMode", Variant("s", "inactive-or-failed"))]
        timer = [
            *common,
            ("TimersMonotonic", Variant("a(st)", [["OnActiveSec", delay_usec]])),
            ("AccuracyUSec", Variant("t", 1_000_000)),
            ("RemainAfterElapse", Variant("b", False)),
        ]
        service = [
            *common,
            ("Type", Variant("s", "oneshot")),
            ("ExecStart", Variant("a(sasb)", [[command[0], list(command), False]])),
        ]
        await self.start_transient_unit(f"{name}.timer", timer, [(f"{name}.service", service)], mode="replace")

    async def stop_unit(self, unit: str, *, mode: str = "replace") -> None:
        """Queue the stop of `unit`."""
        await self._manager("StopUnit", "ss", [unit, mode])

    async def freeze_unit(self, unit: str) -> None:
        """Stop all its processes from running, until `thaw_unit`."""
        await self._manager("FreezeUnit", "s", [unit])

    async def thaw_unit(self, unit: str) -> None:
        """Let its processes run again."""
        await self._manager("ThawUnit", "s", [unit])

    async def kill_unit(self, unit: str, signal: int, *, whom: str = "all") -> None:
        """Send `signal` to the unit's processes: all, main or control."""
        await self._manager("KillUnit", "ssi", [unit, whom, signal])

    async def _manager(
        self, member: str, signature: str = "", body: Sequence[Any] = (), timeout_sec: float | None = None
    ) -> list[Any]:
        return await self.bus.call(NAME, PATH, MANAGER, member, signature, body, timeout_sec=timeout_sec)

    async def _loaded(self, unit: str) -> None:
        # asking for a property of a unit that is gone would make PID 1 load it again and announce it
        await self._manager("GetUnit", "s", [unit])

    async def _get(self, unit: str, interface: str, name: str) -> Variant:
        [value] = await self.bus.call(NAME, unit_path(unit), _PROPERTIES, "Get", "ss", [interface, name])
        variant: Variant = _typed(value, Variant)
        return variant

    async def _get_each(self, unit: str, names: Sequence[str]) -> dict[str, Variant]:
        interface = cgroup_interface(unit)
        values = await asyncio.gather(*(self._get_known(unit, interface, name) for name in names))
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    async def _get_known(self, unit: str, interface: str, name: str) -> Variant | None:
        try:
            return await self._get(unit, interface, name)
        except Unsupported:
            return None

    async def _get_all(self, unit: str, names: Sequence[str]) -> dict[str, Variant]:
        [values] = await self.bus.call(NAME, unit_path(unit), _PROPERTIES, "GetAll", "s", [cgroup_interface(unit)])
        return {name: values[name] for name in names if name in _typed(values, dict)}

    async def _listen(self, member: str, signature: str, callback: Callable[..., None]) -> None:
        def deliver(signal: Signal) -> None:
            if signal.signature == signature:
                callback(*signal.body)

        await self.bus.listen(Rule(sender=NAME, path=PATH, interface=MANAGER, member=member), deliver)

    async def _subscribe(self) -> None:
        with contextlib.suppress(ActuationError):  # AlreadySubscribed
            await self._manager("Subscribe")

    def _owner_changed(self, signal: Signal) -> None:
        if signal.body[2]:
            self._subscribe_again()

    def _subscribe_again(self) -> None:
        task = asyncio.create_task(self._subscribe())
        self._subscribing.add(task)
        task.add_done_callback(self._subscribing.discard)


def _pairs(properties: Sequence[tuple[str, Variant]]) -> list[list[Any]]:
    return [[name, value] for name, value in properties]


def _typed(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise ActuationError(f"systemd's answer is not understood: {value!r:.80} is no {kind.__name__}")
    return value
