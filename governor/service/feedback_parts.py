"""Feedback put together from the daemon's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.actuators.acts import Acts
from governor.exporters import messages
from governor.sensors import Sensors
from governor.service.feedback import Feedback
from governor.service.sampling import Sampling
from governor.service.subjects import Subjects
from governor.service.wakes import Wakes

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.actuators.enforce import Enforcer
    from governor.exporters.journal import Journal
    from governor.kernel.cgroup import Cgroup
    from governor.model.container import Container
    from governor.model.tick import Tick
    from governor.service.governor import Governor
    from governor.service.host import HostParts
    from governor.service.learned import Learned
    from governor.service.wants import Wants


def feedback(
    parts: HostParts,
    learned: Learned,
    wants: Wants,
    enforcer: Enforcer,
    governor: Governor,
    journal: Journal,
    wake: Callable[[], None],
) -> Feedback:
    """Return the feedback of a daemon, told by `governor` of containers; `wake` begins the next tick early."""

    def scope_of(container: Container) -> Cgroup:
        return enforcer.hold(container).scope

    made = Feedback(
        wants=wants,
        subjects=Subjects(enforcer, parts.host, wants),
        sampling=Sampling(parts.root, Sensors()),
        acts=Acts(scope_of),
        wakes=Wakes(wake, lambda why: journal.log(messages.FEATURE_OFF, why)),
        learned=learned,
        scope_of=scope_of,
        containers=governor.containers,
        protected=governor.protected,
        look_at=governor.look_at,
        publish=governor.tell,
    )

    def forget_gone(tick: Tick) -> None:
        for container in tick.removed:
            made.container_gone(container)

    governor.on_known = lambda container: made.adopt(container, enforcer.leases_of(container))
    governor.feedback_of = made.explain
    governor.subscribe(forget_gone)
    return made
