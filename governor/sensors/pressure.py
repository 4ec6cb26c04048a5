"""Pressure: the share of time that tasks waited, of this tick and as the kernel averages it.

Documentation/accounting/psi.rst. The share of a tick comes from the totals, which a read brings up to date; the
averages change every 2 s only.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from governor.kernel.psi import parse, parse_totals
from governor.model.signal import RESOURCES
from governor.model.values import USEC_PER_SEC
from governor.sensors.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.kernel.psi import Pressure


def names(prefix: str, resource: str) -> tuple[str, ...]:
    """Return the names of one pressure file's signals: the tick's shares, then the averages, as Pressure has them."""
    some, full = f"{prefix}pressure.{resource}.some", f"{prefix}pressure.{resource}.full"
    return (some, full, f"{some}_avg10", f"{some}_avg60", f"{full}_avg10", f"{full}_avg60")


SIGNALS: Final = tuple(name for resource in RESOURCES for name in names("", resource))


def sources(wanted: frozenset[str]) -> tuple[Source, ...]:
    """Return what has to be read for the `wanted` signals."""
    found = (source(f"{resource}.pressure", names("", resource), wanted) for resource in RESOURCES)
    return tuple(one for one in found if one is not None)


def source(
    file: str,
    signals: tuple[str, ...],
    wanted: frozenset[str],
    parser: Callable[[bytes], Pressure] | None = None,
) -> Source | None:
    """Return how one pressure file is read for the `wanted` of its `signals`; None where it need not be.

    `parser` (None: the one that parses as little as will do) tells what is in the file.
    """
    if not wanted.intersection(signals):
        return None
    shares, averages = signals[:2], signals[2:]
    parser = parser or (parse if wanted.intersection(averages) else parse_totals)
    return Source(file, parser, partial(derive, shares, averages))


def derive(
    shares: tuple[str, ...],
    averages: tuple[str, ...],
    previous: Pressure | None,
    current: Pressure,
    dt_sec: float,
) -> dict[str, float]:
    """Return the `averages` and, with a previous reading, the `shares` of the time since, by these names.

    A share is at most 1: the file is read a little later than the clock.
    """
    values = dict(zip(averages, current[1], strict=False))
    if previous is not None:
        elapsed_usec = dt_sec * USEC_PER_SEC
        for name, before, now in zip(shares, previous[0], current[0], strict=False):
            if before <= now:
                waited_usec = now - before
                values[name] = waited_usec / elapsed_usec if waited_usec < elapsed_usec else 1.0
    return values
