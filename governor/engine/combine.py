"""Several wishes about one property: a cap beats a raise, within the policy's bounds; a protection floor beats a cap.

The loser is named in Setting.overrides, for `explain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from governor.model.policy import Mode, Setting
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.model.control import Control
    from governor.model.values import Value

_FLOORS: Final = ("MemoryMin", "MemoryLow")
"""Protections: here the higher wish wins, and none of them may be above what is allowed."""
_CEILINGS: Final = ("MemoryHigh", "MemoryMax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one controller wants of one container until it says otherwise. Times in µs of CLOCK_MONOTONIC."""

    controller: str
    control: Control
    limits: Mapping[str, Value]
    reason: str
    since_usec: int
    until_usec: int
    fixed_end: bool = False
    """Whether the end was set by the decision itself: renewing does not move it."""

    @property
    def source(self) -> str:
        """The wish's name in settings, leases and the journal."""
        return f"control:{self.controller}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The settings that feedback lays over the static ones, and what would be laid over if it were enforced."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    observed: Mapping[str, Setting] = field(default_factory=dict)


def clamped(name: str, value: Value, wish: Wish, base: Value | None) -> Value:
    """Return `value` within the wish's own min and max; MemoryMax never above what it is without us."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    low, high = wish.control.settings.min.get(name), wish.control.settings.max.get(name)
    if isinstance(high, int):
        value = min(value, high)
    if isinstance(low, int):
        value = max(value, low)
    return min(value, base) if name == "MemoryMax" and isinstance(base, int) else value


def combine(static: Mapping[str, Setting], base: Mapping[str, Value], wishes: Iterable[Wish]) -> Combined:
    """Return what `wishes` come to over the `static` settings of a container whose values without us are `base`."""
    enforced: dict[str, Setting] = {}
    observed: dict[str, Setting] = {}
    for wish in wishes:
        into = enforced if wish.control.mode is Mode.ENFORCE else observed
        for name, value in wish.limits.items():
            setting = _setting(wish, clamped(name, value, wish, base.get(name)))
            into[name] = _stronger(name, into[name], setting) if name in into else setting
    for found in (enforced, observed):
        for name in _CEILINGS:
            if name in found:
                found[name] = _above_floors(name, found[name], static, base, found)
    return Combined(
        settings={name: _over(static.get(name), setting) for name, setting in enforced.items()},
        observed=observed,
    )


def _setting(wish: Wish, value: Value) -> Setting:
    return Setting(
        value=value,
        source=wish.source,
        reason=wish.reason,
        mode=wish.control.mode,
        position=wish.control.position,
    )


def _stronger(name: str, one: Setting, other: Setting) -> Setting:
    """Return the one that wins: the lower of two caps, the higher of two floors."""
    winner, loser = (other, one) if _wins(name, other.value, one.value) else (one, other)
    return _naming(winner, loser)


def _naming(winner: Setting, loser: Setting) -> Setting:
    return replace(winner, overrides=(*winner.overrides, *loser.overrides, f"{loser.source}={_said(loser.value)}"))


def _wins(name: str, value: Value, other: Value) -> bool:
    if isinstance(value, tuple) and isinstance(other, tuple):
        return _tightness(value) < _tightness(other)
    if not isinstance(value, int) or not isinstance(other, int):
        return False
    return value > other if name in _FLOORS else value < other


def _tightness(value: tuple[object, ...]) -> tuple[int, int]:
    """Order lists of (device, amount): more devices capped first, then the smaller sum."""
    amounts = [int(entry[1]) for entry in value if isinstance(entry, tuple)]
    return -len(amounts), sum(amounts)


def _above_floors(
    name: str,
    setting: Setting,
    static: Mapping[str, Setting],
    base: Mapping[str, Value],
    found: Mapping[str, Setting],
) -> Setting:
    """Return `setting` raised to the highest protection of the container."""
    floors = {floor: found.get(floor) or static.get(floor) for floor in _FLOORS}
    values = [
        (one.value if one is not None else base.get(floor), one.source if one is not None else floor)
        for floor, one in floors.items()
    ]
    for value, source in values:
        if isinstance(value, int) and value != INFINITY and isinstance(setting.value, int) and setting.value < value:
            setting = replace(
                setting,
                value=value,
                overrides=(*setting.overrides, f"{setting.source}={setting.value} (below {source})"),
            )
    return _not_above_base(setting, base) if name == "MemoryMax" else setting


def _not_above_base(setting: Setting, base: Mapping[str, Value]) -> Setting:
    """Return `setting` at most what it is without us: no floor of feedback's own lifts MemoryMax above that."""
    limit = base.get("MemoryMax")
    if isinstance(limit, int) and isinstance(setting.value, int) and setting.value > limit:
        return replace(setting, value=limit)
    return setting


def _over(static: Setting | None, setting: Setting) -> Setting:
    """Return `setting` with the static one that it displaces among what it overrides."""
    return setting if static is None else _naming(setting, static)


def _said(value: Value) -> str:
    return "infinity" if value == INFINITY else str(value)
