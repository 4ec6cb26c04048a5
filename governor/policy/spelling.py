"""Directive values in systemd's own spelling: TOML to the values of model/values.py, and back.

TOML numbers and booleans are taken where systemd would take the plain number or yes and no. A directive that may be
given several times in a unit file takes a list. Two departures from unit files: an empty value resets a list, as
there, but no number (`infinity` does), and CPUQuota= takes `infinity`, which is how `systemctl show` prints it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from governor.model.directives import BY_PROPERTY, Directive
from governor.policy.kinds import SPELLINGS
from governor.policy.words import Raw, as_text, quoted, toml_type

if TYPE_CHECKING:
    from governor.model.values import Value

_MAX_ITEMS: Final = 4096


def items(directive: Directive, raw: Raw) -> list[tuple[tuple[int, ...], Raw]]:
    """Return the items of `raw`, each with its path in the TOML value: () for a single one, (2,) in a list."""
    if SPELLINGS[directive.kind].join is None or not isinstance(raw, list):
        return [((), raw)]
    if len(raw) > _MAX_ITEMS:
        raise ValueError(f"{directive.name} has {len(raw)} items; at most {_MAX_ITEMS} are read")
    return [((index,), item) for index, item in enumerate(raw)]


def parse_item(directive: Directive, raw: Raw) -> Value:
    """Return one item as its value; raise ValueError that says what is wrong, what is accepted, and an example."""
    try:
        return _parse_item(directive, raw)
    except ValueError as error:
        accepted = SPELLINGS[directive.kind].accepted
        raise ValueError(
            f"{directive.name}: {quoted(raw)} {error}; it takes {accepted}, as in {example(directive)}"
        ) from error


def join(directive: Directive, values: list[Value]) -> Value:
    """Return the items of a directive as one value; raise ValueError where they contradict one another."""
    combine = SPELLINGS[directive.kind].join
    try:
        return values[0] if combine is None else combine(values)
    except ValueError as error:
        raise ValueError(f"{directive.name} {error}") from error


def parse_value(directive: Directive, raw: Raw) -> Value:
    """Return a TOML value (or the text of a command line) as the directive's value; raise ValueError with advice."""
    return join(directive, [parse_item(directive, item) for _, item in items(directive, raw)])


def spell(name: str, value: Value) -> str | list[str]:
    """Return the value of the D-Bus property `name` as systemd would have it written; a list where it takes one.

    Raises KeyError for a property that has no directive.
    """
    spelling = SPELLINGS[BY_PROPERTY[name].kind]
    if spelling.split is None:
        return spelling.spell(value)
    return [spelling.spell(item) for item in spelling.split(value)]


def spell_line(name: str, value: Value) -> str:
    """Return `spell`, a list's items being joined by blanks: what a journal line or a table shows."""
    spelled = spell(name, value)
    return spelled if isinstance(spelled, str) else " ".join(spelled)


def example(directive: Directive) -> str:
    """Return an example of the directive's value as it is written in TOML, quotes and all."""
    written = SPELLINGS[directive.kind].example
    return str(written) if isinstance(written, int) else f'"{written}"'


def _parse_item(directive: Directive, raw: Raw) -> Value:
    spelling = SPELLINGS[directive.kind]
    if type(raw) not in (str, *spelling.types):
        raise ValueError(f"is {toml_type(raw)}")
    return spelling.parse(as_text(raw), directive)
