"""One container's settings made true: what must not be written is refused, what is only observed is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.actuators.enforce import refused_change
from governor.model.policy import Mode
from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.actuators.apply import Circumstances
    from governor.actuators.enforce import Enforcer
    from governor.actuators.observe import Observer
    from governor.model.container import Container
    from governor.model.policy import Setting
    from governor.model.tick import Change
    from governor.service.neighbours import Neighbours


class Changes:
    """Sorts settings into those to refuse, to enforce and to observe. `protected` says why one is not written."""

    def __init__(
        self,
        enforcer: Enforcer,
        observer: Observer,
        neighbours: Neighbours,
        protected: Callable[[Container], str | None],
    ) -> None:
        self._enforcer = enforcer
        self._observer = observer
        self._neighbours = neighbours
        self._protected = protected

    async def make(
        self, container: Container, settings: Mapping[str, Setting], circumstances: Circumstances
    ) -> list[Change]:
        """Return all that changed, was refused or would change. Raises Gone, Unsupported, ActuationError."""
        enforced = {name: s for name, s in settings.items() if s.mode is Mode.ENFORCE}
        observed = {name: s for name, s in settings.items() if s.mode is Mode.OBSERVE}
        refused: list[Change] = []
        for name, setting in tuple(enforced.items()):
            why = self._protected(container) or self._neighbours.owner_of(container, name)
            if why:
                refused.append(refused_change(container, name, setting, why))
                del enforced[name]
        changes = await self._enforcer.enforce(container, enforced, circumstances)
        return [*refused, *changes, *await self._observer.observe(container, observed)]


def failed_change(container: Container, name: str, setting: Setting, why: str) -> Change:
    """Return the change that says that `setting` could not be written."""
    return replace(refused_change(container, name, setting, why), outcome=Outcome.FAILED)
