"""Times on the command line, as systemd spells them."""

from __future__ import annotations

from typing import Final

from governor.model.values import INFINITY
from governor.policy.units import timespan
from governor.policy.words import quoted

LEAST_USEC: Final = 100_000
"""A sample each tenth of a second: what is measured faster measures itself."""


def interval_usec(option: str, text: str) -> int:
    """Return the time that an option takes, in µs; raise ValueError for what is none, endless or too short."""
    try:
        usec = timespan(text)
    except ValueError as error:
        raise ValueError(f"{option}={quoted(text)} {error}; it takes a time, as in 1s or 10min") from error
    if not LEAST_USEC <= usec < INFINITY:
        raise ValueError(f"{option} takes a time of 100ms or more that ends, as in 1s or 10min")
    return usec
