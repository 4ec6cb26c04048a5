"""What one container has needed so far, CPU and memory, and the band in which a limit should be: the VPA recommender.

Amounts are cores and bytes. An OOM kill counts as max(used + 100 MiB, 1.2 x used); a throttled CPU sample, for the same
reason, as 1.2 x used: the need above a limit is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from governor.controllers._histogram import Histogram, amount, entries

if TYPE_CHECKING:
    from governor.model.signal import Sample

USAGE: Final = "cpu.usage"
THROTTLED: Final = "cpu.throttled_ratio"
WORKING_SET: Final = "memory.working_set"
KILLS: Final = "memory.oom_kills"

DAY_SEC: Final = 86_400.0
MARGIN: Final = 1.15
BUMP: Final = 1.2
BUMP_BYTES: Final = 100 * 2**20
OFTEN: Final = 0.05
"""A sample that was throttled in more of its periods than this wanted more than it used."""
CPU_FIRST: Final = 0.01
MEMORY_FIRST: Final = 1e7
"""The first buckets: 0.01 core, 10 MB."""
DUMPED: Final = frozenset({"age_sec", "interval_sec", "memory_peak", "cpu", "memory"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """How fast the past fades, in seconds."""

    half_life: float
    interval: float
    """Of each such time the highest use of memory is one sample."""


@dataclass(frozen=True, slots=True)
class Band:
    """Where a limit should be: amounts in cores or bytes."""

    target: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The history of one container. Its age is the time that was observed, so neither restarts nor a suspend age it."""

    cpu: Histogram = field(default_factory=lambda: Histogram(first=CPU_FIRST))
    memory: Histogram = field(default_factory=lambda: Histogram(first=MEMORY_FIRST))
    age_sec: float = 0.0
    interval_sec: float = 0.0
    """How old this interval of memory peaks is."""
    memory_peak: float = 0.0
    """The highest in this interval, in bytes."""
    memory_used: float = 0.0
    """The last sample: after an OOM kill usage is low already."""

    def seen(self, sample: Sample, dt_sec: float, forgetting: Forgetting) -> Need:
        """Return the history with one more sample, of `dt_sec`; what is absent from it is not counted."""
        age, cpu = self.age_sec + dt_sec, self.cpu
        usage, used = sample.get(USAGE), sample.get(WORKING_SET)
        if usage is not None:
            wanted = usage * (BUMP if (sample.get(THROTTLED) or 0.0) > OFTEN else 1.0)
            cpu = cpu.add(wanted, dt_sec, age, forgetting.half_life)
        if used is None:
            return replace(self, age_sec=age, cpu=cpu)
        most = max(used, self.memory_used)
        wanted = max(most + BUMP_BYTES, most * BUMP) if sample.get(KILLS) else used
        peak, passed = max(self.memory_peak, wanted), self.interval_sec + dt_sec
        peaked = replace(self, age_sec=age, cpu=cpu, memory_used=used, memory_peak=peak, interval_sec=passed)
        return peaked if passed < forgetting.interval else _begun(peaked, forgetting)

    def cpu_band(self, share: float) -> Band | None:
        """Return the band of CPU usage in cores for a percentile; None without a history."""
        return self._band(self.cpu, share)

    def memory_band(self, share: float, forgetting: Forgetting) -> Band | None:
        """Return the band of memory in bytes; the interval that has not ended counts as one that has."""
        if not self.memory_peak:
            return self._band(self.memory, share)
        return self._band(self.memory.add(self.memory_peak, 1.0, self.age_sec, forgetting.half_life), share)

    def _band(self, history: Histogram, share: float) -> Band | None:
        target, low, high = (history.percentile(one) for one in (share, min(0.5, share), max(0.95, share)))
        if target is None or low is None or high is None or self.age_sec <= 0:
            return None
        days = self.age_sec / DAY_SEC
        return Band(MARGIN * target, MARGIN * low * (1 + 0.001 / days) ** -2, MARGIN * high * (1 + 1 / days))

    def dump(self, forgetting: Forgetting) -> dict[str, Any]:
        """Return the history as JSON values."""
        return {
            "age_sec": self.age_sec,
            "interval_sec": self.interval_sec,
            "memory_peak": self.memory_peak,
            "cpu": self.cpu.dump(self.age_sec, forgetting.half_life),
            "memory": self.memory.dump(self.age_sec, forgetting.half_life),
        }

    @classmethod
    def load(cls, dumped: object) -> Self:
        """Return the history that dump() told of. Raises ValueError where it is none."""
        found = entries(dumped)
        if missing := DUMPED - found.keys():
            raise ValueError(f"a history needs {', '.join(sorted(missing))}")
        age = amount(found["age_sec"])
        return cls(
            cpu=Histogram.load(CPU_FIRST, found["cpu"], age),
            memory=Histogram.load(MEMORY_FIRST, found["memory"], age),
            age_sec=age,
            interval_sec=amount(found["interval_sec"]),
            memory_peak=amount(found["memory_peak"]),
        )


def _begun(need: Need, forgetting: Forgetting) -> Need:
    """Return it with this interval's peak in the history, and a new interval begun."""
    memory = need.memory.add(need.memory_peak, 1.0, need.age_sec, forgetting.half_life)
    return replace(need, memory=memory, interval_sec=0.0, memory_peak=need.memory_used)
