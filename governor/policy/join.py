"""Controllers' tables of several policies, joined: key by key, the later wins; every one has a part in the mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.model.policy import ControlTable, ControlValue, KeyPath, Mode, Policy
from governor.policy.controls import built

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.model.control import Controller
    from governor.model.errors import Position


@dataclass(frozen=True, slots=True)
class Joined:
    """One controller's tables and the policies that they are from, in the order in which they apply; at least one."""

    tables: tuple[tuple[Policy, ControlTable], ...]
    values: Mapping[KeyPath, ControlValue]
    """What they come to: of each key the last value."""

    @property
    def kind(self) -> type[Controller]:
        """The controller that they are for."""
        return self.tables[-1][1].kind

    @property
    def last(self) -> Policy:
        """The last policy that had a part in it."""
        return self.tables[-1][0]

    @property
    def position(self) -> Position:
        """Where the last table begins."""
        return self.tables[-1][1].position

    @property
    def positions(self) -> tuple[Position, ...]:
        """Where the tables begin."""
        return tuple(table.position for _, table in self.tables)

    @property
    def mode(self) -> Mode:
        """Observe where any of the policies observes: it may have set the very key that must not be tried yet."""
        observes = any(policy.mode is Mode.OBSERVE for policy, _ in self.tables)
        return Mode.OBSERVE if observes else Mode.ENFORCE

    def controller(self) -> Controller:
        """Return the controller with these values, and its defaults for the rest."""
        return built(self.kind, self.values)


def join(policies: Iterable[Policy]) -> dict[str, Joined]:
    """Return what the controllers' tables of `policies`, given in the order in which they apply, come to by name."""
    joined: dict[str, Joined] = {}
    for policy in policies:
        for name, table in policy.controls.items():
            before = joined.get(name, Joined((), {}))
            joined[name] = Joined((*before.tables, (policy, table)), {**before.values, **table.values})
    return joined
