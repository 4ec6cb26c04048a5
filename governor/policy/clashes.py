"""Controllers' tables that cannot hold: bounds that cross, keys that contradict one another, a limit out of bounds.

What a policy sets statically is the base that a controller starts from and returns to, so it must lie within the bounds
that the same container has for the controller: nothing would be right to do where it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.model.directives import BY_PROPERTY
from governor.model.values import INFINITY, Share, Value
from governor.policy.controls import as_written, built
from governor.policy.spelling import spell_line
from governor.policy.words import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from governor.model.control import Controller
    from governor.model.policy import ControlValue, KeyPath

_WORD = re.compile(r"\w+(?:\.\w+)?")


@dataclass(frozen=True, slots=True)
class Clash:
    """Why the values at `parts` cannot hold together; the first is to blame.

    A part is ("limits", PROPERTY), ("control", NAME, KEY) or ("control", NAME, KEY, PROPERTY), or the table as a whole,
    ("control", NAME), where no single value is to blame.
    """

    parts: tuple[KeyPath, ...]
    message: str
    is_of_defaults: bool = False
    """Whether it may come from a default that a value which was refused would have replaced."""


def clashes(
    name: str, kind: type[Controller], values: Mapping[KeyPath, ControlValue], limits: Mapping[str, Value]
) -> tuple[Clash, ...]:
    """Return all that is wrong with the table [control.NAME] of `values` beside `limits`, by D-Bus property."""
    controller = built(kind, values)
    # A controller may complain of crossed bounds itself, with less to say of them.
    crossed = tuple(_crossed(name, controller, values))
    return (*(crossed or _complaints(name, controller, values)), *_out_of_bounds(name, controller, limits))


def _crossed(name: str, controller: Controller, values: Mapping[KeyPath, ControlValue]) -> Iterator[Clash]:
    for key, low in controller.min.items():
        high = controller.max.get(key)
        if high is not None and exceeds(low, high):
            message = f"{name}: min {_said(key, low)} is above max {_spelled(key, high)}"
            paths: tuple[KeyPath, ...] = (("min", key), ("max", key))
            yield Clash(_parts(name, paths, values), message, is_of_defaults=not all(path in values for path in paths))


def _out_of_bounds(name: str, controller: Controller, limits: Mapping[str, Value]) -> Iterator[Clash]:
    """Find limits beyond the bounds. `infinity` is no limit at all, so it fits any `max`."""
    for key, base in limits.items():
        low, high = controller.min.get(key), controller.max.get(key)
        if low is not None and exceeds(low, base):
            yield _outside(name, "min", key, base, low)
        if high is not None and exceeds(base, high, but=INFINITY):
            yield _outside(name, "max", key, base, high)


def _outside(name: str, bound: str, key: str, base: Value, end: Value) -> Clash:
    where = "below" if bound == "min" else "above"
    message = (
        f"{_said(key, base)} is {where} the {bound} of [control.{name}], {_spelled(key, end)}: "
        "a control starts from the limit and returns to it"
    )
    return Clash((("limits", key), ("control", name, bound, key)), message)


def _complaints(name: str, controller: Controller, values: Mapping[KeyPath, ControlValue]) -> Iterator[Clash]:
    """Ask the controller itself; the values that it names are to blame, in the order in which it names them."""
    complaint = controller.complaint()
    if complaint:
        named = dict.fromkeys(path for word in _WORD.findall(complaint) for path in values if _is_named(path, word))
        yield Clash(_parts(name, named, values), f"{name}: {complaint}", is_of_defaults=True)


def _is_named(path: KeyPath, word: str) -> bool:
    """Return whether `word` means the value at `path`: `target`, `min`, or `min.CPUQuota` for that one alone."""
    return word in (path[0], ".".join(as_written(path)))


def _parts(name: str, paths: Iterable[KeyPath], values: Mapping[KeyPath, ControlValue]) -> tuple[KeyPath, ...]:
    """Return the parts for those of `paths` that somebody wrote; the table itself where nobody wrote any."""
    return tuple(("control", name, *path) for path in paths if path in values) or (("control", name),)


def exceeds(low: Value, high: Value, but: int | None = None) -> bool:
    """Return whether `low` is above `high` and is not `but`; lists by device, where both name one.

    What cannot be compared (a percentage with bytes, words, networks) exceeds nothing.
    """
    if isinstance(low, tuple) and isinstance(high, tuple):
        above = _by_device(high)
        return any(device in above and exceeds(value, above[device], but) for device, value in _by_device(low).items())
    if isinstance(low, Share) and isinstance(high, Share):
        return low > high
    return isinstance(low, int) and isinstance(high, int) and low != but and low > high


def _by_device(pairs: tuple[object, ...]) -> dict[str, int]:
    """Return the numbers of a list such as that of IOReadBandwidthMax= by device; {} for a list of another sort."""
    numbers = (pair for pair in pairs if isinstance(pair, tuple) and len(pair) == 2)  # noqa: PLR2004 - a pair
    return {device: number for device, number in numbers if isinstance(number, int)}


def _said(name: str, value: Value) -> str:
    return f"{BY_PROPERTY[name].name} {_spelled(name, value)}"


def _spelled(name: str, value: Value) -> str:
    return quoted(spell_line(name, value))
