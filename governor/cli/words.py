"""What a step of feedback does, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.cli.output import directive
from governor.model.control import Freeze, Kill, Notify, Reclaim
from governor.model.values import USEC_PER_SEC
from governor.policy.spelling import spell_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Act
    from governor.model.step import Step
    from governor.model.values import Value

_UNITS = ("", "K", "M", "G", "T")


def deed(step: Step) -> str:
    """Return what a step sets, gives back or does; "" where it does nothing by itself."""
    return " ".join(part for part in (limit_words(step.limits), _act(step.act)) if part)


def limit_words(limits: Mapping[str, Value | None]) -> str:
    """Return limits as in a unit file, on one line; what is given back has no value."""
    return " ".join(f"{directive(name)}={_spelled(name, value)}" for name, value in sorted(limits.items()))


def size(amount: float) -> str:
    """Return bytes (or bytes a second) in three digits and a unit."""
    unit = 0
    while abs(amount) >= 999.5 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - 1000 would have four digits
        amount, unit = amount / 1024, unit + 1
    digits = 1 if unit and abs(amount) < 9.95 else 0  # noqa: PLR2004 - 10.0 would have three already
    return f"{amount:.{digits}f}{_UNITS[unit]}"


def _spelled(name: str, value: Value | None) -> str:
    if value is None:
        return ""
    try:
        return spell_line(name, value)
    except (KeyError, TypeError, ValueError):
        return str(value)


def _act(act: Act | None) -> str:
    match act:
        case Reclaim():
            return f"reclaim {size(act.size_bytes)}"
        case Notify():
            return f"notify, {act.grace_usec / USEC_PER_SEC:g} s"
        case Freeze():
            return "freeze" if act.frozen else "thaw"
        case Kill():
            return "kill" if act.whole else "kill the largest process"
        case None:
            return ""
