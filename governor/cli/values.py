"""Limits between the command line, the bus and the terminal: `CPUQuota=150%` in, systemd's numbers over, `150%` out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.bus.codec import decode, encode
from governor.cli.output import safe
from governor.kernel.host import Host
from governor.model.directives import BY_NAME, BY_PROPERTY
from governor.model.values import Share
from governor.policy.kinds import SPELLINGS
from governor.policy.spelling import parse_value, spell, spell_line
from governor.policy.words import quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.bus.library import Variant
    from governor.model.values import Value


def assignments(texts: Iterable[str]) -> dict[str, Value]:
    """Return `DIRECTIVE=VALUE` texts as values by D-Bus property; a list directive may come several times.

    Raises ValueError with what is wrong, as the policy parser would say it.
    """
    raw: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{quoted(text)} is not DIRECTIVE=VALUE")
        if name not in BY_NAME:
            raise ValueError(
                f"{quoted(name)} is not a directive of systemd.resource-control{suggestion(name, BY_NAME)}"
            )
        raw.setdefault(name, []).append(value)
    return {BY_NAME[name].property: _parsed(name, values) for name, values in raw.items()}


def _parsed(name: str, values: list[str]) -> Value:
    """Return the values given for one directive as one: a list where it takes one, else the last."""
    directive = BY_NAME[name]
    listed = SPELLINGS[directive.kind].join is not None
    return parse_value(directive, list(values) if listed else values[-1])


def to_variant(name: str, value: Value) -> Variant:
    """Return the value of property `name` as the bus takes it, a share being taken of what this host has.

    Raises Unsupported where /proc does not tell what the host has.
    """
    if isinstance(value, Share):
        host = Host.probe()
        value = value.of(host.tasks_max if name == "TasksMax" else host.memory_total_bytes)
    return encode(name, value)


def shown(name: str, raw: Any) -> str:
    """Return the value of property `name`, as it came over the bus, in systemd's spelling and fit for a terminal.

    What cannot be read as a value of that property (a newer daemon's, or already spelled) is shown as it is.
    """
    if raw is None:
        return "-"
    if name not in BY_PROPERTY:
        return safe(str(raw))
    try:
        return safe(spell_line(name, decode(name, raw)))
    except (TypeError, ValueError):
        return safe(str(raw))


def json_value(name: str, raw: Any) -> dict[str, Any]:
    """Return the value of property `name` for JSON: as the number or list it is, and in systemd's spelling."""
    try:
        value = decode(name, raw)
    except (TypeError, ValueError):
        return {"value": raw, "spelled": str(raw)}
    return {"value": value, "spelled": spell(name, value)}
