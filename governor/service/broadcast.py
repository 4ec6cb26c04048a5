"""Signals of org.governor1, made from ticks.

They go to everybody, so they carry ids, runtimes and limits, never names, images or labels: those properties are only
invalidated, and whoever may read them asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.bus.library import Variant
from governor.model.control import Notify
from governor.model.policy import Mode
from governor.model.tick import Outcome
from governor.service.interfaces import CONTAINER, MANAGER, OBJECT_MANAGER, PROPERTIES, ROOT_PATH
from governor.service.views import container_path, limits, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.bus.connection import Bus
    from governor.model.container import Container
    from governor.model.tick import Tick
    from governor.service.core import Core

_EFFECTIVE = frozenset({Outcome.APPLIED, Outcome.RESTORED, Outcome.YIELDED})


class Broadcaster:
    """Tells the bus what changed since the tick before."""

    def __init__(self, bus: Bus, core: Core) -> None:
        self._bus = bus
        self._core = core
        self._known = {container.inode: container for container in core.containers()}
        self._policies = core.policies()
        self._shown = self._manager_state()

    def publish(self, tick: Tick) -> None:
        """Send what `tick` brought."""
        for container in tick.removed:
            self._removed(container)
        for container in tick.added:
            self._added(container)
        self._described(tick.containers)
        self._limits_changed(tick)
        self._kill_notices(tick)
        self._policies_changed(tick.containers)
        self.manager_changed()

    def manager_changed(self) -> None:
        """Send the manager's properties that are no longer as they were last sent."""
        state = self._manager_state()
        changed = {name: Variant(*value) for name, value in state.items() if self._shown[name] != value}
        self._shown = state
        if changed:
            self._properties(ROOT_PATH, MANAGER.name, changed, [])

    def _manager_state(self) -> dict[str, tuple[str, Any]]:
        return {"Mode": ("s", str(self._core.mode)), "NContainers": ("u", len(self._core.containers()))}

    def _added(self, container: Container) -> None:
        self._known[container.inode] = container
        path = container_path(container)
        public = {"Id": Variant("s", text(container.id)), "Runtime": Variant("s", text(container.runtime))}
        self._emit(ROOT_PATH, OBJECT_MANAGER.name, "InterfacesAdded", "oa{sa{sv}}", path, {CONTAINER.name: public})
        self._emit(ROOT_PATH, MANAGER.name, "ContainerAdded", "so", text(container.id), path)

    def _removed(self, container: Container) -> None:
        self._known.pop(container.inode, None)
        path = container_path(container)
        self._emit(ROOT_PATH, OBJECT_MANAGER.name, "InterfacesRemoved", "oas", path, [CONTAINER.name])
        self._emit(ROOT_PATH, MANAGER.name, "ContainerRemoved", "so", text(container.id), path)

    def _described(self, containers: Iterable[Container]) -> None:
        for container in containers:
            before = self._known.get(container.inode, container)
            self._known[container.inode] = container
            if before is container:
                continue
            stale = [
                name
                for name, same in (
                    ("Name", before.name == container.name),
                    ("Image", before.image == container.image),
                    ("Labels", before.labels == container.labels),
                )
                if not same
            ]
            if stale:
                self._properties(container_path(container), CONTAINER.name, {}, [*stale, "Policies"])

    def _limits_changed(self, tick: Tick) -> None:
        changed = {change.container.inode for change in tick.changes if change.outcome in _EFFECTIVE}
        for container in tick.containers:
            if container.inode not in changed:
                continue
            path, now = container_path(container), limits(self._core.limits_of(container))
            self._emit(ROOT_PATH, MANAGER.name, "LimitsChanged", "oa{sv}", path, now)
            self._properties(path, CONTAINER.name, {"Limits": Variant("a{sv}", now)}, ["Originals"])

    def _kill_notices(self, tick: Tick) -> None:
        for container, step in tick.steps:
            if isinstance(step.act, Notify) and step.mode is Mode.ENFORCE:
                body = (text(container.id), container_path(container), step.act.grace_usec)
                self._emit(ROOT_PATH, MANAGER.name, "KillNotice", "sot", *body)

    def _policies_changed(self, containers: Iterable[Container]) -> None:
        policies = self._core.policies()
        if policies is self._policies:
            return
        self._policies = policies
        for container in containers:
            self._properties(container_path(container), CONTAINER.name, {}, ["Policies"])

    def _properties(self, path: str, interface: str, changed: Mapping[str, Variant], stale: list[str]) -> None:
        self._emit(path, PROPERTIES.name, "PropertiesChanged", "sa{sv}as", interface, dict(changed), stale)

    def _emit(self, path: str, interface: str, member: str, signature: str, *body: Any) -> None:
        self._bus.emit(path, interface, member, signature, body)
