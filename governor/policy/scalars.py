"""Values of keys that are no directives: ratios, time spans, bytes, counts, booleans and choices.

One table says how each shape is written, for the parser, the schema and the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from governor.model.values import INFINITY
from governor.policy import units
from governor.policy.keys import Key, Shape
from governor.policy.words import Raw, as_text, quoted, suggestion, toml_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PARTS_PER_WHOLE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one shape is written: what TOML may give, a parser and a speller of it, and the words for its users."""

    types: tuple[type, ...]
    parse: Callable[[Raw], Any]
    spell: Callable[[Any], str]
    accepted: str


def _ratio(raw: Raw) -> float:
    """Return a number, or a percentage as text, as a ratio."""
    if isinstance(raw, str):
        return units.permyriad(raw) / _PARTS_PER_WHOLE
    if not isfinite(_bounded(raw)):
        raise ValueError("is no finite number")
    return float(raw)


def _bounded(raw: Any) -> Any:
    """Return a number; raise ValueError where it is beyond 64 bits, as a TOML integer may be."""
    if isinstance(raw, int) and abs(raw) >= INFINITY:
        raise ValueError("is more than 64 bits hold")
    return raw


def _quoted(spell: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return `spell` for what TOML has in quotes."""
    return lambda value: f'"{spell(value)}"'


SCALARS: Final[Mapping[Shape, Scalar]] = {
    Shape.RATIO: Scalar((str, int, float), _ratio, lambda value: f"{value:g}", "a ratio (a number or a percentage)"),
    Shape.TIMESPAN: Scalar(
        (str, int),
        lambda raw: units.timespan(as_text(raw)),
        _quoted(lambda value: units.spell_timespan(int(value))),
        "a time span",
    ),
    Shape.BYTES: Scalar(
        (str, int),
        lambda raw: units.size(as_text(raw), units.IEC),
        _quoted(lambda value: units.spell_size(int(value), units.IEC)),
        "bytes (with K, M, G or T, powers of 1024)",
    ),
    Shape.COUNT: Scalar((int,), _bounded, lambda value: str(int(value)), "a whole number"),
    Shape.BOOLEAN: Scalar((str, bool), lambda raw: units.boolean(as_text(raw)), as_text, "true or false"),
}
"""How each shape is written; that of choices has no more to it than its words."""


def parse(key: Key, raw: Raw) -> Any:
    """Return the value of a key; raise ValueError that says what is wrong, what is accepted, and an example."""
    if key.shape is Shape.CHOICE:
        return _choice(key, raw)
    try:
        return _parse(key, raw)
    except ValueError as error:
        raise ValueError(f"{key.name}: {quoted(raw)} {error}; it takes {accepted(key)}, as in {key.example}") from error


def accepted(key: Key) -> str:
    """Return in words what a key takes, with its bounds."""
    if key.shape is Shape.CHOICE:
        return " or ".join(f'"{choice}"' for choice in key.choices)
    return SCALARS[key.shape].accepted + _range(key)


def spell(key: Key, value: Any) -> str:
    """Return a value of `key` as it is written in TOML, quotes and all."""
    return f'"{value}"' if key.shape is Shape.CHOICE else SCALARS[key.shape].spell(value)


def _parse(key: Key, raw: Raw) -> Any:
    scalar = SCALARS[key.shape]
    if type(raw) not in scalar.types:
        raise ValueError(f"is {toml_type(raw)}")
    value = scalar.parse(raw)
    if not _reaches(key.low, value) or not _reaches(value, key.high):
        raise ValueError("is out of range")
    return value


def _reaches(low: float | None, high: float | None) -> bool:
    """Return whether `low` is at most `high`; what is not given bounds nothing."""
    return low is None or high is None or low <= high


def _range(key: Key) -> str:
    """Return the bounds of a key in words, without the quotes."""
    low, high = (None if end is None else spell(key, end).strip('"') for end in (key.low, key.high))
    if low is not None and high is not None:
        return f" of {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" of at most {high}"


def _choice(key: Key, raw: Raw) -> str:
    if isinstance(raw, str) and raw in key.choices:
        return raw
    guess = suggestion(raw, key.choices) if isinstance(raw, str) else ""
    raise ValueError(f"{key.name}: {quoted(raw)} is not {accepted(key)}{guess}")
