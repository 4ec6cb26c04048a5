"""A service that answers as org.freedesktop.systemd1 does, for the calls that governor makes.

Written on dbus-next's own connection, whatever library is tested: the bytes on the wire are read by other code than
wrote them. Its rules (an unloaded unit, lists that are added to) are systemd's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dbus_next import Message, MessageType, Variant
from dbus_next.aio import MessageBus

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{NAME}.Manager"
ARRAYS = ("a(st)", "a(ss)", "a(iayu)", "a(iiqq)")


class FakeSystemd:
    def __init__(self, address: str) -> None:
        self._address = address
        self._bus: Any = None
        self.calls: list[tuple[str, list[Any]]] = []
        self.features = "+PAM +SECCOMP -BPF_FRAMEWORK default-hierarchy=unified"
        self.units: dict[str, dict[str, Any]] = {}
        self.unknown_properties: set[str] = set()
        self.jobs: dict[str, tuple[int, str]] = {}
        self.delay_sec = 0.0
        self.subscribers: set[str] = set()

    async def start(self) -> None:
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._handle)
        await self._bus.request_name(NAME)

    async def stop(self) -> None:
        self._bus.disconnect()
        await asyncio.sleep(0.01)
        # dbus-next leaves them open
        self._bus._stream.close()
        self._bus._sock.close()

    def add_unit(self, name: str, **properties: Any) -> None:
        self.units[name] = {
            "ControlGroup": Variant("s", f"/system.slice/{name}"),
            "Slice": Variant("s", "system.slice"),
            "Delegate": Variant("b", True),
            "InvocationID": Variant("ay", bytes(range(16))),
            "Transient": Variant("b", True),
            "FragmentPath": Variant("s", f"/run/systemd/transient/{name}"),
            "DropInPaths": Variant("as", ["/run/a.conf"]),
            **properties,
        }

    def emit(self, member: str, signature: str, body: list[Any]) -> None:
        self._bus.send(Message.new_signal(PATH, MANAGER, member, signature, body))

    def _handle(self, message: Any) -> bool:
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        asyncio.get_running_loop().call_later(self.delay_sec, self._answer, message)
        return True

    def _answer(self, message: Any) -> None:
        self.calls.append((message.member, message.body))
        try:
            signature, body = self._reply(message)
        except LookupError as error:
            name, text = error.args
            self._bus.send(Message.new_error(message, name, text))
        else:
            self._bus.send(Message.new_method_return(message, signature, body))

    def _reply(self, message: Any) -> tuple[str, list[Any]]:
        if message.interface == "org.freedesktop.DBus.Properties":
            return self._properties(message)
        answers: dict[str, Callable[[Any], tuple[str, list[Any]]]] = {
            "Subscribe": self._subscribe,
            "GetUnit": lambda call: ("o", [_path(call.body[0])]) if self._unit(call.body[0]) else ("", []),
            "SetUnitProperties": lambda call: self._set(call.body[0], call.body[2]),
            "GetUnitByControlGroup": self._by_control_group,
            "ListUnitsByPatterns": self._list,
            "StartTransientUnit": lambda _: ("o", [f"{PATH}/job/7"]),
            "StopUnit": lambda _: ("o", [f"{PATH}/job/7"]),
            **dict.fromkeys(("Reload", "FreezeUnit", "ThawUnit", "KillUnit"), lambda _: ("", [])),
        }
        if message.member not in answers:
            raise LookupError("org.freedesktop.DBus.Error.UnknownMethod", f"no method {message.member}")
        return answers[message.member](message)

    def _subscribe(self, message: Any) -> tuple[str, list[Any]]:
        if message.sender in self.subscribers:
            raise LookupError(f"{NAME}.AlreadySubscribed", "Client is already subscribed.")
        self.subscribers.add(message.sender)
        return "", []

    def _by_control_group(self, message: Any) -> tuple[str, list[Any]]:
        for name, unit in self.units.items():
            if message.body[0].startswith(unit["ControlGroup"].value):
                return "o", [_path(name)]
        raise LookupError(f"{NAME}.NoSuchUnit", "no unit")

    def _list(self, _: Any) -> tuple[str, list[Any]]:
        rows = [[name, "a unit", "loaded", "active", "running", "", _path(name), 0, "", "/"] for name in self.units]
        return "a(ssssssouso)", [rows]

    def _properties(self, message: Any) -> tuple[str, list[Any]]:
        if message.path.startswith(f"{PATH}/job/"):
            number = int(message.path.rpartition("/")[2])
            kinds = dict(self.jobs.values())
            if number not in kinds:
                raise LookupError("org.freedesktop.DBus.Error.UnknownObject", "no job")
            return "v", [Variant("s", kinds[number])]
        if message.path == PATH:
            return "v", [Variant("s", self.features)]
        [name] = [name for name in self.units if _path(name) == message.path]
        if message.member == "GetAll":
            return "a{sv}", [self.units[name]]
        wanted = message.body[1]
        if wanted == "Job":
            number, _ = self.jobs.get(name, (0, ""))
            return "v", [Variant("(uo)", [number, f"{PATH}/job/{number}" if number else "/"])]
        if wanted not in self.units[name]:
            raise LookupError("org.freedesktop.DBus.Error.UnknownProperty", f"no {wanted}")
        return "v", [self.units[name][wanted]]

    def _unit(self, name: str) -> dict[str, Any]:
        if name not in self.units:
            raise LookupError(f"{NAME}.NoSuchUnit", f"Unit {name} not loaded.")
        return self.units[name]

    def _set(self, name: str, pairs: list[Any]) -> tuple[str, list[Any]]:
        unit = self._unit(name)
        for key, value in pairs:
            if key in self.unknown_properties:
                text = f"Cannot set property {key}, or unknown property."
                raise LookupError("org.freedesktop.DBus.Error.PropertyReadOnly", text)
            unit[key] = _added(unit.get(key), value)
        return "", []


def _added(old: Any, new: Any) -> Any:
    """Lists are prepended to what is there, unless they are empty: systemd's dbus-cgroup.c."""
    if old is not None and new.signature in ARRAYS and new.value:
        return Variant(new.signature, [*reversed(new.value), *old.value])
    if old is not None and new.signature == "(bas)" and new.value[1]:
        return Variant("(bas)", [new.value[0], [*new.value[1], *old.value[1]]])
    return new


def _path(unit: str) -> str:
    escaped = "".join(c if c.isascii() and c.isalnum() else "".join(f"_{b:02x}" for b in c.encode()) for c in unit)
    return f"{PATH}/unit/{escaped}"
