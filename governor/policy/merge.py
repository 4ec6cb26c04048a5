"""What all policies together come to for one container: key by key, in the order of their names, the later wins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.model.control import Control
from governor.model.directives import BY_PROPERTY
from governor.model.errors import Position, Problem
from governor.model.policy import Limit, Mode, Policy, Setting
from governor.policy.clashes import Clash, clashes
from governor.policy.conflicts import conflicts
from governor.policy.join import Joined, join
from governor.policy.match import NO_USERS, matches
from governor.policy.spelling import spell_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from governor.model.container import Container

NO_CONTROLS: Final[Mapping[str, Control]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One container's settings by D-Bus property, its controls by name, its policies, and why the merge was refused.

    Where there are problems, `settings` and `controls` are the previous set: one that contradicts itself changes
    nothing.
    """

    settings: Mapping[str, Setting]
    policies: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    controls: Mapping[str, Control] = field(default_factory=lambda: NO_CONTROLS)


def merge(
    policies: Iterable[Policy],
    container: Container,
    *,
    host_mode: Mode,
    previous: Mapping[str, Setting],
    previous_controls: Mapping[str, Control] = NO_CONTROLS,
    users: Mapping[int, str] = NO_USERS,
) -> Merged:
    """Return what `policies` come to for `container`, which had `previous` and `previous_controls`.

    Every value keeps its own policy's mode, and a control observes where any policy with a part in it does; both are
    capped by the host's. What lost stands in `Setting.overrides` as `policy:<name>=<value>`. `users` gives the names of
    uids, for `match.user`.
    """
    matching = sorted((p for p in policies if matches(p.match, container, users)), key=lambda policy: policy.name)
    settings = _settings(matching, host_mode)
    joined = join(matching)
    problems = (*_limit_problems(settings), *_control_problems(joined, settings))
    controls = previous_controls if problems else {name: _control(one, host_mode) for name, one in joined.items()}
    return Merged(
        settings=previous if problems else MappingProxyType(settings),
        policies=tuple(policy.name for policy in matching),
        problems=problems,
        controls=MappingProxyType(dict(controls)),
    )


def _settings(matching: Iterable[Policy], host_mode: Mode) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    for policy in matching:
        for name, limit in policy.limits.items():
            settings[name] = _laid_over(settings.get(name), name, _setting(policy, name, limit, host_mode))
    return settings


def _control(joined: Joined, host_mode: Mode) -> Control:
    return Control(
        settings=joined.controller(),
        source=f"policy:{joined.last.name}",
        mode=capped(joined.mode, host_mode),
        position=joined.position,
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


def _limit_problems(settings: Mapping[str, Setting]) -> Iterator[Problem]:
    for conflict in conflicts({name: setting.value for name, setting in settings.items()}):
        yield from _problems(conflict.message, [settings[name].position for name in conflict.properties])


def _control_problems(joined: Mapping[str, Joined], settings: Mapping[str, Setting]) -> Iterator[Problem]:
    static = {name: setting.value for name, setting in settings.items()}
    for name, one in joined.items():
        for clash in clashes(name, one.kind, one.values, static):
            yield from _problems(clash.message, _places(clash, one, settings))


def _places(clash: Clash, joined: Joined, settings: Mapping[str, Setting]) -> Iterator[Position | None]:
    """Yield where the parts of a clash are written; for a table as a whole, where each policy has it."""
    for kind, name, *path in clash.parts:
        if kind == "limits":
            yield settings[name].position
        elif not path:
            yield from joined.positions
        elif tuple(path) in joined.values:
            yield joined.values[tuple(path)].position


def _problems(message: str, places: Iterable[Position | None]) -> list[Problem]:
    """Return one problem for each place that has a part in it, naming the others."""
    known = list(dict.fromkeys(place for place in places if place is not None))
    return [Problem(place, message + _others(place, known)) for place in known]


def _others(place: Position, places: list[Position]) -> str:
    others = " and ".join(str(other) for other in places if other != place)
    return f", set in {others}" if others else ""
