"""What the engine is told of each container: its sample, its limits now, and what they would be without feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.engine.world import Subject
from governor.exporters.journal import display_name
from governor.kernel import limits
from governor.model.errors import ActuationError
from governor.model.lease import Hold
from governor.model.signal import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.actuators.enforce import Enforcer
    from governor.kernel.host import Host
    from governor.model.container import Container
    from governor.model.control import Control
    from governor.model.lease import Lease
    from governor.model.policy import Setting
    from governor.model.values import Value
    from governor.service.wants import Wants

NO_SAMPLE = Sample(time_usec=0)
WEIGHTS = ("IOWeight", "IODeviceWeight")


class Subjects:
    """Makes subjects."""

    def __init__(self, enforcer: Enforcer, host: Host, wants: Wants) -> None:
        self._enforcer = enforcer
        self._host = host
        self._wants = wants

    def subject(self, container: Container, sample: Sample | None) -> Subject:
        """Return `container` as the engine sees it. Raises Gone."""
        controls = self._wants.policed(container).controls
        settings = self._wants.unfed(container)
        current = self._current(container, controls)
        return Subject(
            inode=container.inode,
            name=display_name(container),
            sample=sample or NO_SAMPLE,
            controls=controls,
            settings=settings,
            current=current,
            base=self._base(container, current, settings),
        )

    def _current(self, container: Container, controls: Mapping[str, Control]) -> dict[str, Value]:
        """Return what the kernel holds of all that the controls may move and that nobody else has taken over."""
        kinds = [control.settings for control in controls.values()]
        names = {name for kind in kinds for name in (*kind.properties, *kind.reads)}
        if not names:
            return {}
        if not self._host.io_weights_act:
            names.difference_update(WEIGHTS)
        names.difference_update(name for name, lease in self._leases(container) if lease.hold is Hold.YIELDED)
        return limits.read_limits(self._enforcer.hold(container).scope, self._host, names)

    def _base(
        self, container: Container, current: Mapping[str, Value], settings: Mapping[str, Setting]
    ) -> dict[str, Value]:
        leases = dict(self._leases(container))
        static = {name: setting.value for name, setting in settings.items() if name in current}
        try:
            canonical = limits.canonical_set(static, self._host)
        except ActuationError:  # a value that means nothing on this host: it is refused where it is applied
            canonical = {}
        return {
            name: canonical[name] if name in canonical else leases[name].original if name in leases else value
            for name, value in current.items()
        }

    def _leases(self, container: Container) -> Iterable[tuple[str, Lease]]:
        return (item for _, leases in self._enforcer.leases_of(container) for item in leases.items())
