"""What all policies together come to for one container: key by key, in the order of their names, the later wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from governor.model.directives import BY_PROPERTY
from governor.model.errors import Position, Problem
from governor.model.policy import Limit, Mode, Policy, Setting
from governor.policy.conflicts import Conflict, conflicts
from governor.policy.match import NO_USERS, matches
from governor.policy.spelling import spell_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.model.container import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One container's settings by D-Bus property, the policies that are for it, and why the merge was refused.

    Where there are problems, `settings` is the previous set: a set that contradicts itself changes nothing.
    """

    settings: Mapping[str, Setting]
    policies: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


def merge(
    policies: Iterable[Policy],
    container: Container,
    *,
    host_mode: Mode,
    previous: Mapping[str, Setting],
    users: Mapping[int, str] = NO_USERS,
) -> Merged:
    """Return what `policies` come to for `container`, which had `previous`.

    Every value keeps its own policy's mode, capped by the host's. What lost stands in `Setting.overrides` as
    `policy:<name>=<value>`. `users` gives the names of uids, for `match.user`.
    """
    matching = sorted((p for p in policies if matches(p.match, container, users)), key=lambda policy: policy.name)
    settings: dict[str, Setting] = {}
    for policy in matching:
        for name, limit in policy.limits.items():
            settings[name] = _laid_over(settings.get(name), name, _setting(policy, name, limit, host_mode))
    found = conflicts({name: setting.value for name, setting in settings.items()})
    problems = tuple(problem for conflict in found for problem in _problems(conflict, settings))
    return Merged(
        settings=previous if problems else MappingProxyType(settings),
        policies=tuple(policy.name for policy in matching),
        problems=problems,
    )


def _setting(policy: Policy, name: str, limit: Limit, host_mode: Mode) -> Setting:
    place = f"{limit.position.file}:{limit.position.line}"
    return Setting(
        value=limit.value,
        source=f"policy:{policy.name}",
        reason=f'policy {policy.name} sets {BY_PROPERTY[name].name} to "{spell_line(name, limit.value)}" in {place}',
        mode=capped(policy.mode, host_mode),
        position=limit.position,
    )


def capped(mode: Mode, host_mode: Mode) -> Mode:
    """Return `mode` where the host enforces, observe where it only observes."""
    return mode if host_mode is Mode.ENFORCE else Mode.OBSERVE


def _laid_over(earlier: Setting | None, name: str, later: Setting) -> Setting:
    """Return `later` with `earlier`, which it displaces, among what it overrides."""
    if earlier is None:
        return later
    lost = f"{earlier.source}={spell_line(name, earlier.value)}"
    return replace(later, overrides=(*earlier.overrides, lost))


def _problems(conflict: Conflict, settings: Mapping[str, Setting]) -> list[Problem]:
    """Return one problem for each place that has a part in `conflict`, naming the others."""
    places = [place for name in conflict.properties if (place := settings[name].position) is not None]
    return [Problem(place, conflict.message + _others(place, places)) for place in places]


def _others(place: Position, places: list[Position]) -> str:
    others = " and ".join(str(other) for other in places if other != place)
    return f", set in {others}" if others else ""
