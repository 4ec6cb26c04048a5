"""A histogram that forgets: buckets that grow by 1.05, samples whose weight halves with age (the VPA recommender's).

Instead of ageing all buckets at each sample, a sample weighs 2^(age / half-life) more the later it comes; only where
the weights become too large for a float are all of them scaled. So a sample costs the same however long the history is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final, Self

GROWTH: Final = 1.05
BUCKETS: Final = 176
"""From 0.01 to 1000 cores, or from 10 MB to 1 TB."""
MOST_HALVINGS: Final = 50
"""The weights are scaled before they become 2^50 times the first."""
ROUNDING: Final = 1e-9
NEGLIGIBLE: Final = 1e-6
"""A bucket with less of the total is not kept across a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Weights by bucket. `first` is the size of the first bucket, in the unit of the samples."""

    first: float
    weights: tuple[float, ...] = (0.0,) * BUCKETS
    reference_sec: float = 0.0
    """The age of the history at which a sample weighs as much as is said."""

    def add(self, value: float, weight: float, age_sec: float, half_life_sec: float) -> Self:
        """Return it with one more sample, taken when the history was `age_sec` old."""
        if (age_sec - self.reference_sec) / half_life_sec > MOST_HALVINGS:
            return self.at(age_sec, half_life_sec).add(value, weight, age_sec, half_life_sec)
        index = self._bucket(value)
        weighed = self.weights[index] + weight * 2.0 ** ((age_sec - self.reference_sec) / half_life_sec)
        return replace(self, weights=(*self.weights[:index], weighed, *self.weights[index + 1 :]))

    def at(self, age_sec: float, half_life_sec: float) -> Self:
        """Return the same histogram with weights as of the age `age_sec`."""
        factor = 2.0 ** ((self.reference_sec - age_sec) / half_life_sec)
        return replace(self, weights=tuple(weight * factor for weight in self.weights), reference_sec=age_sec)

    def percentile(self, share: float) -> float | None:
        """Return the value that `share` of the weight is not above: the end of a bucket. None where it is empty."""
        total = sum(self.weights)
        if total <= 0:
            return None
        # Sums of floats: what is short by rounding only is not short.
        enough = share * total * (1 - ROUNDING)
        below = (index for index, weight in enumerate(accumulate(self.weights)) if weight >= enough)
        return self._start(next(below, BUCKETS - 1) + 1)

    def dump(self, age_sec: float, half_life_sec: float) -> dict[str, float]:
        """Return the weights as of the age `age_sec` by bucket, as JSON values."""
        weights = self.at(age_sec, half_life_sec).weights
        least = NEGLIGIBLE * sum(weights)
        return {str(index): float(f"{weight:.6g}") for index, weight in enumerate(weights) if weight > least}

    @classmethod
    def load(cls, first: float, dumped: object, age_sec: float) -> Self:
        """Return the histogram that dump() told of, at the age `age_sec`. Raises ValueError where it is none."""
        weights = [0.0] * BUCKETS
        for index, weight in entries(dumped).items():
            weights[_index(index)] = amount(weight)
        return cls(first=first, weights=tuple(weights), reference_sec=age_sec)

    def _bucket(self, value: float) -> int:
        """Return the bucket of `value`: the first is `first` wide, each next one 1.05 times as wide."""
        index = math.floor(math.log(max(value, 0.0) / self.first * (GROWTH - 1) + 1, GROWTH))
        return min(index, BUCKETS - 1)

    def _start(self, index: int) -> float:
        return float(self.first * (GROWTH**index - 1) / (GROWTH - 1))


def entries(value: object) -> Mapping[object, object]:
    """Return `value` as a JSON object. Raises ValueError where it is none."""
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"{value!r:.40} is not an object")


def amount(value: object) -> float:
    """Return `value` as a finite number that is not negative. Raises ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r:.40} is not a finite number from 0 on")
    return float(value)


def _index(text: object) -> int:
    plain = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= len(str(BUCKETS))
    if not isinstance(text, str) or not plain or int(text) >= BUCKETS:
        raise ValueError(f"{text!r:.40} is not a bucket's number")
    return int(text)
