"""The D-Bus service org.governor1: calls are dispatched by the tables in interfaces.py, checked, authorised, done.

Written on messages, not on a library's service classes: it runs alike on both libraries, knows its caller, and says
nothing of its inside when something fails. Everybody may read the list and the limits; labels and all changes need
root or polkit's leave.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from governor.bus.messages import (
    INVALID_ARGS,
    PROPERTY_READ_ONLY,
    UNKNOWN_INTERFACE,
    UNKNOWN_METHOD,
    UNKNOWN_OBJECT,
    UNKNOWN_PROPERTY,
    Failure,
    Reply,
)
from governor.model.errors import ActuationError, Gone, PolicyError, Unsupported
from governor.service import interfaces, requests, views
from governor.service.broadcast import Broadcaster
from governor.service.interfaces import CONTAINER, CONTAINER_ROOT, MANAGER, OBJECT_MANAGER, ROOT_PATH, Interface
from governor.service.polkit import Action, Polkit
from governor.service.recorded_container import NotARecording

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from governor.bus.connection import Bus
    from governor.bus.library import Variant
    from governor.bus.messages import Call
    from governor.model.container import Container
    from governor.service.core import Core, Examiner

Answer: TypeAlias = Reply | Failure
_STANDARD = (interfaces.PEER, interfaces.INTROSPECTABLE, interfaces.PROPERTIES)
_NODES = {"/": ("org",), "/org": ("governor1",)}
_MACHINE_ID = Path("/etc/machine-id")


class Api:
    """org.governor1 on `bus`, answering from `core`; `examiner` is asked by Doctor()."""

    def __init__(self, bus: Bus, core: Core, examiner: Examiner) -> None:
        self._bus = bus
        self._core = core
        self._examiner = examiner
        self._examining = asyncio.Lock()
        self._simulating = asyncio.Lock()
        self._polkit = Polkit(bus)
        self._broadcaster: Broadcaster | None = None
        self._methods: dict[tuple[str, str], Callable[[Call], Awaitable[Answer]]] = {
            (MANAGER.name, "ListContainers"): self._list_containers,
            (MANAGER.name, "GetContainer"): self._get_container,
            (MANAGER.name, "ListPolicies"): self._list_policies,
            (MANAGER.name, "Reload"): self._reload,
            (MANAGER.name, "Explain"): self._explain,
            (MANAGER.name, "SetLimits"): self._set_limits,
            (MANAGER.name, "Release"): self._release,
            (MANAGER.name, "SetMode"): self._set_mode,
            (MANAGER.name, "Doctor"): self._doctor,
            (MANAGER.name, "Simulate"): self._simulate,
            (OBJECT_MANAGER.name, "GetManagedObjects"): self._get_managed_objects,
            (interfaces.INTROSPECTABLE.name, "Introspect"): self._introspect,
            (interfaces.PEER.name, "Ping"): self._ping,
            (interfaces.PEER.name, "GetMachineId"): self._get_machine_id,
            (interfaces.PROPERTIES.name, "Get"): self._get,
            (interfaces.PROPERTIES.name, "GetAll"): self._get_all,
            (interfaces.PROPERTIES.name, "Set"): self._set,
        }

    async def start(self) -> None:
        """Answer calls, send signals, and then own the name, so that who sees the name can use it.

        Raises ActuationError where another process owns it, Unsupported where the bus's policy forbids it.
        """
        self._bus.add_handler("/", self._handle)
        self._broadcaster = Broadcaster(self._bus, self._core)
        self._core.subscribe(self._broadcaster.publish)
        await self._bus.request_name(interfaces.NAME)

    async def _handle(self, call: Call) -> Answer:
        offered = self._interfaces(call.path)
        if offered is None:
            return Failure(UNKNOWN_OBJECT, f"there is no object {call.path}")
        for interface in offered:
            method = interface.method(call.member)
            if method is None or call.interface not in ("", interface.name):
                continue
            if call.signature != method.in_signature:
                takes, has = method.in_signature, call.signature
                return Failure(INVALID_ARGS, f"{method.name} takes ({takes}), the call has ({has})")
            return await self._methods[interface.name, method.name](call)
        if call.interface and call.interface not in {interface.name for interface in offered}:
            return Failure(UNKNOWN_INTERFACE, f"{call.path} has no interface {call.interface}")
        return Failure(UNKNOWN_METHOD, f"{call.path} has no method {call.member}")

    # -- objects

    def _interfaces(self, path: str) -> tuple[Interface, ...] | None:
        """Return what the object at `path` offers; None where there is none."""
        if path == ROOT_PATH:
            return (*_STANDARD, OBJECT_MANAGER, MANAGER)
        if path in (*_NODES, CONTAINER_ROOT):
            return _STANDARD
        return (*_STANDARD, CONTAINER) if self._container_at(path) is not None else None

    def _container_at(self, path: str) -> Container | None:
        if not path.startswith(f"{CONTAINER_ROOT}/"):
            return None
        found = [container for container in self._core.containers() if views.container_path(container) == path]
        return found[-1] if found else None

    def _children(self, path: str) -> list[str]:
        if path == ROOT_PATH:
            return ["container"]
        if path == CONTAINER_ROOT:
            paths = {views.container_path(container) for container in self._core.containers()}
            return sorted(path.removeprefix(f"{CONTAINER_ROOT}/") for path in paths)
        return list(_NODES.get(path, ()))

    async def _introspect(self, call: Call) -> Answer:
        offered = self._interfaces(call.path) or ()
        return Reply("s", [interfaces.introspection(offered, self._children(call.path))])

    async def _ping(self, _call: Call) -> Answer:
        return Reply()

    async def _get_machine_id(self, _call: Call) -> Answer:
        try:
            machine_id = await asyncio.to_thread(_MACHINE_ID.read_text)
        except OSError as error:
            return Failure(requests.NOT_SUPPORTED, f"this host has no machine id: {error.strerror}")
        return Reply("s", [machine_id.strip()])

    async def _get_managed_objects(self, call: Call) -> Answer:
        details = await self._may_read_details(call, interactive=False)
        objects = {
            views.container_path(container): {
                **{interface.name: {} for interface in _STANDARD},
                CONTAINER.name: views.container_properties(self._core, container, details=details),
            }
            for container in self._core.containers()
        }
        return Reply("a{oa{sa{sv}}}", [objects])

    # -- properties

    async def _get(self, call: Call) -> Answer:
        interface, name = call.body
        # only a question for the labels alone is worth a password
        found = await self._properties(call, interface, interactive=call.interactive and name == "Labels")
        if isinstance(found, Failure):
            return found
        if name not in found:
            return Failure(UNKNOWN_PROPERTY, f"{call.path} has no property {views.text(name)[:80]}")
        return Reply("v", [found[name]])

    async def _get_all(self, call: Call) -> Answer:
        found = await self._properties(call, call.body[0], interactive=False)
        return found if isinstance(found, Failure) else Reply("a{sv}", [found])

    async def _set(self, _call: Call) -> Answer:
        return Failure(PROPERTY_READ_ONLY, "properties are read-only; use SetLimits() or SetMode()")

    async def _properties(self, call: Call, interface: str, *, interactive: bool) -> dict[str, Variant] | Failure:
        offered = self._interfaces(call.path) or ()
        if interface and interface not in {one.name for one in offered}:
            return Failure(UNKNOWN_INTERFACE, f"{call.path} has no interface {interface[:80]}")
        container = self._container_at(call.path)
        if container is not None and interface in ("", CONTAINER.name):
            details = bool(container.labels) and await self._may_read_details(call, interactive=interactive)
            return views.container_properties(self._core, container, details=details)
        if call.path == ROOT_PATH and interface in ("", MANAGER.name):
            return views.manager_properties(self._core)
        return {}

    async def _may_read_details(self, call: Call, *, interactive: bool) -> bool:
        uid = await self._polkit.uid_of(call.sender)
        return await self._polkit.allows(call.sender, uid, Action.READ_DETAILS, interactive=interactive)

    # -- what everybody may ask

    async def _list_containers(self, _call: Call) -> Answer:
        return Reply("a(sssso)", [[views.row(container) for container in self._core.containers()]])

    async def _get_container(self, call: Call) -> Answer:
        found = requests.find(self._core.containers(), call.body[0])
        return found if isinstance(found, Failure) else Reply("o", [views.container_path(found)])

    async def _list_policies(self, _call: Call) -> Answer:
        rows = [
            [views.text(policy.name), views.text(policy.file), str(policy.mode)] for policy in self._core.policies()
        ]
        return Reply("a(sss)", [rows])

    async def _explain(self, call: Call) -> Answer:
        found = requests.find(self._core.containers(), call.body[0])
        if isinstance(found, Failure):
            return found
        return Reply("aa{sv}", [[views.explanation(explained) for explained in self._core.explain(found)]])

    async def _doctor(self, _call: Call) -> Answer:
        async with self._examining:  # it opens files and asks services: one at a time, however many ask
            features = await self._examiner.examine()
        rows = [[views.text(one.name), one.available, views.text(one.meaning)] for one in features]
        return Reply("a(sbs)", [rows])

    async def _simulate(self, call: Call) -> Answer:
        """Replay in a worker, one at a time: it costs the daemon's time, so it needs the leave to read details."""
        if not await self._may_read_details(call, interactive=call.interactive):
            return requests.denied(Action.READ_DETAILS)
        from governor.service.replay import simulate_remotely  # noqa: PLC0415 -- a megabyte for what few ever ask

        policy, recording = call.body
        async with self._simulating:
            try:
                rows, missing = await asyncio.to_thread(simulate_remotely, policy, bytes(recording))
            except PolicyError as error:
                return requests.failure_of(error, requests.POLICY_INVALID)
            except NotARecording as error:
                return Failure(INVALID_ARGS, requests.clipped(str(error)))
        shown = [[time_usec, *(views.text(word) for word in words)] for time_usec, *words in rows]
        return Reply("a(tssss)s", [shown, missing])

    # -- changes

    async def _reload(self, call: Call) -> Answer:
        denial, _ = await self._authorise(call, Action.RELOAD)
        return denial or await _done(self._core.reload(), requests.POLICY_INVALID)

    async def _set_limits(self, call: Call) -> Answer:
        wanted, pairs, lease_usec = call.body
        container = self._changeable(wanted)
        if isinstance(container, Failure):
            return container
        limits = requests.limits_from(pairs)
        if isinstance(limits, Failure):
            return limits
        problem = requests.lease_problem(lease_usec)
        if problem is not None:
            return problem
        denial, uid = await self._authorise(call, Action.SET_LIMITS)
        if denial is not None:
            return denial
        return await _done(self._core.set_limits(container, limits, lease_usec, uid), requests.BAD_PROPERTY)

    async def _release(self, call: Call) -> Answer:
        container = self._changeable(call.body[0])
        if isinstance(container, Failure):
            return container
        denial, _ = await self._authorise(call, Action.RELEASE)
        return denial or await _done(self._core.release(container), requests.POLICY_INVALID)

    async def _set_mode(self, call: Call) -> Answer:
        mode = requests.mode_from(call.body[0])
        if isinstance(mode, Failure):
            return mode
        denial, _ = await self._authorise(call, Action.SET_MODE)
        if denial is not None:
            return denial
        answer = await _done(self._core.set_mode(mode), requests.POLICY_INVALID)
        if self._broadcaster is not None:
            self._broadcaster.manager_changed()
        return answer

    def _changeable(self, wanted: str) -> Container | Failure:
        found = requests.find_exactly(self._core.containers(), wanted)
        if isinstance(found, Failure):
            return found
        reason = self._core.protected(found)
        return found if reason is None else Failure(requests.PROTECTED, requests.clipped(reason))

    async def _authorise(self, call: Call, action: Action) -> tuple[Failure | None, int]:
        """Return (None, the caller's uid) where it may do `action`, else (what to answer, -1)."""
        uid = await self._polkit.uid_of(call.sender)
        allowed = await self._polkit.allows(call.sender, uid, action, interactive=call.interactive)
        if uid is None or not allowed:
            return requests.denied(action), -1
        return None, uid


async def _done(work: Awaitable[Any], policy_error: str) -> Answer:
    try:
        await work
    except (PolicyError, Gone, Unsupported, ActuationError) as error:
        return requests.failure_of(error, policy_error)
    return Reply()
