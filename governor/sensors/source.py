"""What every sensor is made of: a file, how it is parsed, and what its counters say; all but the reading is pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from governor.kernel.stat import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the kernel and the signals in it. What parse() returns is the sensor's own affair: its counters."""

    file: str
    parse: Callable[[bytes], Any]
    """The text → counters, of which those that nobody wants are ABSENT."""
    derive: Callable[[Any, Any, float], dict[str, float]]
    """(counters of the last sample or None, counters now, seconds between them) → signals; absent ones are left out."""


class Sensor(Protocol):
    """What each module of a sensor has."""

    @property
    def SIGNALS(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """The names of all that it can give."""

    def sources(self, wanted: frozenset[str]) -> tuple[Source, ...]:
        """Return what has to be read for the `wanted` signals, of which other sensors' are ignored."""


def rise(before: int, now: int) -> int:
    """Return how much a counter rose, ABSENT where it was not read both times or went backwards: it was made anew."""
    return now - before if 0 <= before <= now else ABSENT


def fields_of(needs: Mapping[str, Iterable[str]], wanted: frozenset[str]) -> frozenset[str]:
    """Return the fields that the `wanted` signals need, of `needs`: signal → its fields."""
    return frozenset(field for signal, fields in needs.items() if signal in wanted for field in fields)
