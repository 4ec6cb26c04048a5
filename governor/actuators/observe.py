"""The dry run: says what would be written, and writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.kernel import limits
from governor.model.tick import Change, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.kernel.cgroup import Cgroup
    from governor.model.container import Container
    from governor.model.policy import Setting


class Observer:
    """Compares settings with the kernel. `cgroup_of` opens a container's cgroup, or raises Gone."""

    def __init__(self, host: limits.Host, cgroup_of: Callable[[Container], Cgroup]) -> None:
        self._host = host
        self._cgroup_of = cgroup_of

    async def observe(self, container: Container, settings: Mapping[str, Setting]) -> list[Change]:
        """Return, for each setting that the kernel does not hold already, the change that enforcing it would be."""
        if not settings:
            return []
        current = limits.read_limits(self._cgroup_of(container), self._host, tuple(settings))
        changes = []
        for name, setting in settings.items():
            new = limits.canonical(name, setting.value, self._host)
            if current.get(name) == new:
                continue
            changes.append(
                Change(
                    container=container,
                    property=name,
                    old=current.get(name),
                    new=new,
                    source=setting.source,
                    reason=setting.reason,
                    outcome=Outcome.OBSERVED,
                    detail="mode observe: not written",
                )
            )
        return changes
