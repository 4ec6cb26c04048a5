"""What each container shall hold: policies merged, feedback over them, what was set by hand on top, while it lasts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from governor.model.policy import HostSettings, Mode, Setting
from governor.policy.merge import merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.model.container import Container
    from governor.model.control import Control
    from governor.model.errors import Problem
    from governor.model.lease import Lease, Target
    from governor.model.policy import Policy
    from governor.policy.load import PolicySet


@dataclass(slots=True)
class Wanted:
    """What one container shall hold, and what is wrong with it. `settings` are the last that did not conflict."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    policies: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    controls: Mapping[str, Control] = field(default_factory=dict)


class Wants:
    """Answers what a container shall hold. Pure but for the clock that ends what was set by hand."""

    def __init__(self, policies: PolicySet, mode: Mode | None = None) -> None:
        self.policies: tuple[Policy, ...] = policies.policies
        self.settings: HostSettings = policies.settings
        self._mode = mode
        self._merged: dict[int, Wanted] = {}
        self._by_hand: dict[str, dict[str, Setting]] = {}
        self._feedback: dict[int, Mapping[str, Setting]] = {}
        self.users: dict[int, str] = {}
        """Names of the uids beneath whose managers containers were found, for match.user."""

    @property
    def mode(self) -> Mode:
        """The host's mode: as set at run time, else as in governor.toml."""
        return self._mode or self.settings.mode

    def set_mode(self, mode: Mode) -> None:
        """Cap every policy by `mode` from now on."""
        self._mode = mode

    def use(self, policies: PolicySet) -> None:
        """Take a new set; what each container held stays known, for those for which the new set conflicts."""
        self.policies = policies.policies
        self.settings = policies.settings

    def update(self, container: Container) -> Wanted:
        """Merge anew for `container` and return what it shall hold now."""
        before = self._merged.get(container.inode, Wanted())
        merged = merge(
            self.policies,
            container,
            host_mode=self.mode,
            previous=before.settings,
            previous_controls=before.controls,
            users=self.users,
        )
        wanted = Wanted(merged.settings, merged.policies, merged.problems, merged.controls)
        self._merged[container.inode] = wanted
        return wanted

    def of(self, container: Container) -> Wanted:
        """Return what `container` shall hold: policies' settings, beneath feedback, beneath what was set by hand."""
        wanted = self.policed(container)
        feedback = self._feedback.get(container.inode)
        if feedback and self.mode is Mode.ENFORCE:
            wanted = replace(wanted, settings={**wanted.settings, **feedback})
        by_hand = self._live(container.key)
        if not by_hand:
            return wanted
        settings = {**wanted.settings, **{name: self._over(wanted, name, setting) for name, setting in by_hand.items()}}
        return replace(wanted, settings=settings)

    def policed(self, container: Container) -> Wanted:
        """Return what the policies alone say of `container`."""
        return self._merged.get(container.inode) or self.update(container)

    def unfed(self, container: Container) -> Mapping[str, Setting]:
        """Return the settings of `container` as they would be without any feedback."""
        return {**self.policed(container).settings, **self._live(container.key)}

    def feed(self, inode: int, settings: Mapping[str, Setting]) -> None:
        """Lay what feedback asks for over the policies' settings of one container; nothing takes it away."""
        if settings:
            self._feedback[inode] = settings
        else:
            self._feedback.pop(inode, None)

    def set_by_hand(self, container: Container, settings: Mapping[str, Setting]) -> None:
        """Put `settings` on top for `container`."""
        self._by_hand.setdefault(container.key, {}).update(settings)

    def by_hand(self, container: Container) -> Mapping[str, Setting]:
        """Return what was set by hand on `container` and has not expired."""
        return self._live(container.key)

    def release(self, container: Container) -> None:
        """Drop what was set by hand on `container`."""
        self._by_hand.pop(container.key, None)

    def forget(self, container: Container) -> None:
        """Drop all that is known of a container that ended."""
        self._merged.pop(container.inode, None)
        self._feedback.pop(container.inode, None)
        self._by_hand.pop(container.key, None)

    def adopt(self, container: Container, leases: Iterable[tuple[Target, Mapping[str, Lease]]]) -> None:
        """Take over, from an earlier daemon's ledger, what was set by hand."""
        for _, held in leases:
            mine = {name: _setting(lease) for name, lease in held.items() if lease.owner.startswith("user:")}
            if mine:
                self.set_by_hand(container, mine)

    def next_end_usec(self, container: Container) -> int:
        """Return when the first setting of `container` ends, in µs since the epoch; 0 = none ends."""
        ends = [setting.until_usec for setting in self._by_hand.get(container.key, {}).values() if setting.until_usec]
        return min(ends, default=0)

    def _live(self, key: str) -> dict[str, Setting]:
        now_usec = time.time_ns() // 1000
        mine = self._by_hand.get(key)
        if not mine:
            return {}
        live = {name: s for name, s in mine.items() if not s.until_usec or s.until_usec > now_usec}
        self._by_hand[key] = live
        return live

    def _over(self, wanted: Wanted, name: str, setting: Setting) -> Setting:
        below = wanted.settings.get(name)
        mode = Mode.OBSERVE if Mode.OBSERVE in (self.mode, setting.mode) else Mode.ENFORCE
        if below is None:
            return replace(setting, mode=mode)
        return replace(setting, mode=mode, overrides=(*below.overrides, below.source))


def _setting(lease: Lease) -> Setting:
    return Setting(value=lease.intended, source=lease.owner, reason=lease.reason, until_usec=lease.until_usec)
