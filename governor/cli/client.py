"""The daemon as governorctl sees it: org.governor1 on the system bus."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from governor.bus.connection import Bus
from governor.bus.library import Variant
from governor.bus.rules import Rule
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

NAME: Final = "org.governor1"
PATH: Final = "/org/governor1"
MANAGER: Final = "org.governor1.Manager"
CONTAINER: Final = "org.governor1.Container"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
_PASSWORD_TIMEOUT_SEC: Final = 120.0
"""polkit may ask the user for a password, and users think."""
_MAX_CANDIDATES: Final = 10

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Row:
    """One container as ListContainers tells it."""

    id: str
    name: str
    runtime: str
    unit: str
    path: str

    def as_dict(self) -> dict[str, str]:
        """Return the row for JSON."""
        return asdict(self)


class Client:
    """Calls to the daemon over one connection. Every method raises as `Bus.call` does."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def manager(self, member: str, signature: str = "", body: Sequence[Any] = ()) -> list[Any]:
        """Return what a method of the manager answers, variants unwrapped."""
        answer = await self._bus.call(
            NAME, PATH, MANAGER, member, signature, body, timeout_sec=_PASSWORD_TIMEOUT_SEC, interactive=True
        )
        return [unwrapped(value) for value in answer]

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """Return all properties of one object, variants unwrapped."""
        answer = await self._bus.call(NAME, path, _PROPERTIES, "GetAll", "s", [interface])
        properties: dict[str, Any] = unwrapped(answer[0])
        return properties

    async def objects(self) -> dict[str, dict[str, Any]]:
        """Return the properties of every container, by object path, variants unwrapped."""
        answer = await self._bus.call(NAME, PATH, _OBJECT_MANAGER, "GetManagedObjects")
        return {path: unwrapped(interfaces.get(CONTAINER, {})) for path, interfaces in answer[0].items()}

    async def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the daemon tells that anything is not as it was."""
        await self._bus.listen(Rule(sender=NAME, path_namespace=PATH), lambda _signal: callback())
        self._bus.on_restored(callback)

    async def containers(self) -> list[Row]:
        """Return all containers that the daemon sees, by name."""
        rows = [Row(*row) for row in (await self.manager("ListContainers"))[0]]
        return sorted(rows, key=lambda row: (row.name, row.id))

    async def resolve(self, text: str) -> Row:
        """Return the one container that `text` means: its id, name, unit, or the beginning of its id.

        Raises Gone where nothing or more than one fits: changes go to full ids only, so a guess is never made.
        """
        return choose(await self.containers(), text)


def choose(rows: list[Row], text: str) -> Row:
    """Return the row that `text` means. An exact id wins over a name, that over a unit, that over an id's beginning."""
    meanings: tuple[Callable[[Row], bool], ...] = (
        lambda row: row.id == text,
        lambda row: row.name == text,
        lambda row: text in (row.unit, row.unit.rpartition(".")[0]) and bool(row.unit),
        lambda row: bool(text) and row.id.startswith(text),
    )
    for fits in meanings:
        found = [row for row in rows if fits(row)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Gone(f"{text!r} fits {len(found)} containers:\n{_candidates(found)}")
    raise Gone(f"no container is called {text!r}; governorctl list shows all")


def _candidates(rows: list[Row]) -> str:
    lines = [f"  {row.id}  {row.name}  {row.runtime}" for row in rows[:_MAX_CANDIDATES]]
    return "\n".join([*lines, "  …"] if len(rows) > _MAX_CANDIDATES else lines)


def unwrapped(value: Any) -> Any:
    """Return `value` with every variant in it replaced by what it holds, and structs as lists."""
    if isinstance(value, Variant):
        return unwrapped(value.value)
    if isinstance(value, dict):
        return {key: unwrapped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unwrapped(item) for item in value]
    return value


def ask(work: Callable[[Client], Awaitable[Result]]) -> Result:
    """Return what `work` returns over a connection of its own to the system bus.

    Raises as `Bus.call` does; a bus that is not there counts as a daemon that is not running.
    """
    return asyncio.run(_connected(work))


async def _connected(work: Callable[[Client], Awaitable[Result]]) -> Result:
    try:
        bus = await Bus.connect()
    except (Unsupported, ActuationError) as error:
        raise Unsupported(f"org.freedesktop.DBus.Error.Disconnected: {error}") from error
    try:
        return await work(Client(bus))
    finally:
        await bus.close()
