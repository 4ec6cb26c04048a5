"""CPI²'s statistics (Zhang et al., EuroSys'13): what is normal for a victim, who is busy when it is not. Pure.

They hold for any signal that grows when somebody else is in the way: cycles per instruction, wait for a CPU, pressure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNALS: Final = ("perf.cpi", "runq.latency", "pressure.cpu.some")
"""The best first: what the CPU itself counted, what the scheduler measured, what PSI says."""
SIGMAS: Final = 2.0
LEAST_SAMPLES: Final = 60
"""A spec of no more samples judges nobody."""
LEAST_EXCESS: Final = 1.1
"""The threshold is at least this much above the mean: a very steady signal would else be always abnormal."""
FLOORS: Final[Mapping[str, float]] = {"pressure.cpu.some": 0.05}
"""Below this a signal harms nobody, whatever its statistics say."""
MOST_WEIGHT: Final = 8640
"""Samples in the running mean: a day's at 10 s. Older ones fade."""
STUBBORN: Final = 60
"""So many abnormal samples in a row without a culprit are the new normal: it is learnt anew."""
HISTORY_USEC: Final = 600 * USEC_PER_SEC
"""Over how long the correlation is taken."""
ABNORMAL_USEC: Final = 300 * USEC_PER_SEC
ABNORMAL: Final = 3
"""So many abnormal samples within ABNORMAL_USEC make a victim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Running mean and variance (Welford) of a signal's normal samples."""

    count: int = 0
    mean: float = 0.0
    spread: float = 0.0
    """Sum of squared differences from the mean, of the samples that count."""

    @property
    def sigma(self) -> float:
        """Return the standard deviation, in the signal's unit."""
        return math.sqrt(max(self.spread, 0.0) / self.count) if self.count else 0.0

    def threshold(self, signal: str) -> float:
        """Return the value above which a sample is abnormal: mean + 2 sigma, and not too near the mean or zero."""
        return max(self.mean + SIGMAS * self.sigma, self.mean * LEAST_EXCESS, FLOORS.get(signal, 0.0))

    def known(self) -> bool:
        """Return whether it rests on enough samples."""
        return self.count > LEAST_SAMPLES

    def learnt(self, value: float, signal: str) -> Spec:
        """Return it with one more sample; outliers are left out once enough is known."""
        if self.known() and value > self.threshold(signal):
            return self
        count = min(self.count + 1, MOST_WEIGHT)
        kept = self.spread * (count - 1) / self.count if self.count else 0.0
        mean = self.mean + (value - self.mean) / count
        return Spec(count=count, mean=mean, spread=kept + (value - self.mean) * (value - mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One sample of a victim: means over a period. `busy` holds the suspects' CPU usage in cores at that time."""

    end_usec: int
    value: float
    busy: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What is being added up to a bin: values times seconds, and the seconds."""

    seconds: float = 0.0
    value: float = 0.0
    usage: float = 0.0
    busy: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Suspect → (cores * seconds, seconds)."""

    def add(self, value: float, usage: float, busy: Mapping[int, float], dt_sec: float) -> Sums:
        """Return the sums with one more tick."""
        more = dict(self.busy)
        for inode, cores in busy.items():
            total, seconds = more.get(inode, (0.0, 0.0))
            more[inode] = (total + cores * dt_sec, seconds + dt_sec)
        return replace(
            self,
            seconds=self.seconds + dt_sec,
            value=self.value + value * dt_sec,
            usage=self.usage + usage * dt_sec,
            busy=more,
        )

    def bin(self, end_usec: int) -> Bin:
        """Return the means; a suspect's over the time in which it was seen."""
        busy = {inode: total / seconds for inode, (total, seconds) in self.busy.items()}
        return Bin(end_usec=end_usec, value=self.value / self.seconds, busy=busy)


def kept(bins: tuple[Bin, ...], now_usec: int) -> tuple[Bin, ...]:
    """Return the bins that the correlation is taken over."""
    return tuple(each for each in bins if now_usec - each.end_usec <= HISTORY_USEC)


def abnormal(bins: tuple[Bin, ...], threshold: float, now_usec: int) -> int:
    """Return how many of the last five minutes' samples are above the threshold; 0 where the last one is not."""
    if not bins or bins[-1].value <= threshold:
        return 0
    return sum(each.value > threshold for each in bins if now_usec - each.end_usec <= ABNORMAL_USEC)


def correlation(bins: tuple[Bin, ...], inode: int, threshold: float) -> float:
    """Return how well a suspect's usage explains the victim's samples, -1 to 1 (CPI², section 4.2).

    With usage u, normalised to a sum of 1, and sample c against the threshold T: u * (1 - T/c) where c > T, which
    incriminates it, else u * (c/T - 1), which clears it.
    """
    seen = [(each.value, each.busy[inode]) for each in bins if inode in each.busy]
    total = sum(cores for _, cores in seen)
    if total <= 0 or threshold <= 0:
        return 0.0
    weighed = (cores * (1 - threshold / value if value > threshold else value / threshold - 1) for value, cores in seen)
    return sum(weighed) / total
