"""Dividing an amount fairly: by weight, nobody below a floor, nobody above what it can use (max-min fairness)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HALVINGS: Final = 60
"""Enough to find the water level as exactly as numbers are, however far the weights lie apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one party of a division may get, in the unit of the total; `weight` is relative to the others' and > 0."""

    weight: float
    low: float
    want: float
    """It uses no more than this now."""
    high: float


def share(total: float, claims: Mapping[int, Claim]) -> dict[int, float]:
    """Return how much of `total` each gets, in the same unit.

    First everybody's wants, by weight; what is left then goes to all by weight, so that nobody who wakes up is held
    for nothing. The floors are kept even where they come to more than the total.
    """
    wants = {name: max(claim.low, min(claim.want, claim.high)) for name, claim in claims.items()}
    if sum(wants.values()) >= total:
        return _filled(total, claims, {name: claim.low for name, claim in claims.items()}, wants)
    return _filled(total, claims, wants, {name: max(claim.low, claim.high) for name, claim in claims.items()})


def _filled(
    total: float, claims: Mapping[int, Claim], low: Mapping[int, float], high: Mapping[int, float]
) -> dict[int, float]:
    """Return level x weight for each, within its bounds, at the highest level that does not exceed `total`."""
    bottom, top = 0.0, 1.0 + max((total / claim.weight for claim in claims.values()), default=0.0)
    for _ in range(HALVINGS):
        level = (bottom + top) / 2
        if sum(_at(level, claims[name], low[name], high[name]) for name in claims) > total:
            top = level
        else:
            bottom = level
    return {name: _at(bottom, claim, low[name], high[name]) for name, claim in claims.items()}


def _at(level: float, claim: Claim, low: float, high: float) -> float:
    return min(max(level * claim.weight, low), high)
