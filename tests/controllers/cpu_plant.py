"""Simulated CPU workloads that react to quota, burst and weight, and what drives controllers against them.

A container is simulated quota period by quota period, as kernel/sched/fair.c accounts: what is wanted beyond the quota
(and what was saved up of it) waits for the next period. A host divides its CPUs among services and batch tick by tick;
how much batch makes services wait is a number, `leak`: 0 where weight shields them, more where it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.model.control import Member, Scene
from governor.model.signal import Sample
from governor.model.values import CPU_WEIGHT_IDLE, INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Controller, Decision, Solo
    from governor.model.values import Value

QUOTA = "CPUQuotaPerSecUSec"
BURST = "CPUBurstUSec"
WEIGHT = "CPUWeight"
PERIOD_USEC = 100_000
INODE = 7

Demand = Callable[[int], float]
"""Cores that are wanted in the period, or on a host in the tick, of that number."""


def percent(value: float) -> int:
    """Return a quota of so many percent of a CPU."""
    return round(value * 10_000)


def member(values: Mapping[str, float], now_usec: int = USEC_PER_SEC, **more: Any) -> Member:
    """Return a member of these signals and, as `current` and `base`, these properties."""
    fields: dict[str, Any] = {"inode": INODE, "name": "web-1"} | more
    return Member(sample=Sample(time_usec=now_usec, values=values), **fields)


@dataclass
class CpuPlant:
    """One container. Work that does not fit into a period waits, up to `patience` seconds of it: then it is dropped."""

    demand: Demand
    limits: dict[str, int] = field(default_factory=lambda: {QUOTA: INFINITY, BURST: 0})
    patience: float = 0.5
    backlog: float = 0.0
    saved_usec: float = 0.0
    period: int = 0
    now_usec: int = USEC_PER_SEC

    def run(self, periods: int = 1) -> dict[str, float]:
        """Return the signals of the next so many periods together."""
        used = ran = throttled = bursts = 0.0
        for _ in range(periods):
            usec, was_throttled, was_burst = self._run_one()
            used, ran = used + usec, ran + (usec > 0)
            throttled, bursts = throttled + was_throttled, bursts + was_burst
        length = periods * PERIOD_USEC / USEC_PER_SEC
        values = {"cpu.usage": used / USEC_PER_SEC / length, "cpu.bursts": bursts / length}
        if ran and self.limits[QUOTA] != INFINITY:
            values |= {"cpu.periods": ran / length, "cpu.throttled_ratio": throttled / ran}
        return values | {"host.pressure.cpu.some": 0.0}

    def _run_one(self) -> tuple[float, bool, bool]:
        wanted = self.demand(self.period) * PERIOD_USEC + self.backlog
        self.period, self.now_usec = self.period + 1, self.now_usec + PERIOD_USEC
        quota = self.limits[QUOTA]
        if quota == INFINITY:
            self.backlog = 0.0
            return wanted, False, False
        own = quota * PERIOD_USEC / USEC_PER_SEC
        used = min(wanted, own + self.saved_usec)
        self.saved_usec = min(max(0.0, self.saved_usec + own - used), self.limits[BURST])
        self.backlog = min(wanted - used, self.patience * USEC_PER_SEC)
        return used, wanted > used + 1e-6, used > own + 1e-6


@dataclass
class Run:
    """What a controller did to a plant: its decisions by step, and the property after each step."""

    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    throttled: list[float | None] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        """The decisions as the journal would tell them."""
        return [f"{step}: {decision.reason}" for step, decision in self.decisions]


def drive(
    controller: Solo,
    plant: CpuPlant,
    steps: int,
    *,
    delay: int = 1,
    drop: Callable[[int], bool] = lambda _: False,
    watch: str = QUOTA,
) -> Run:
    """Return what the controller does in so many steps; writes take `delay` of them, `drop` empties a step's sample."""
    state, run, base = controller.start(), Run(), dict(plant.limits)
    pending: list[tuple[int, Mapping[str, Value | None]]] = []
    periods = controller.interval_usec // PERIOD_USEC
    for step in range(steps):
        for _, limits in [one for one in pending if one[0] == step]:
            plant.limits |= {name: base[name] if value is None else _int(value) for name, value in limits.items()}
        values = plant.run(periods)
        seen = member({} if drop(step) else values, plant.now_usec, current=dict(plant.limits), base=base)
        state, decision = controller.step(state, seen, controller.interval_usec / USEC_PER_SEC)
        if decision:
            run.decisions.append((step, decision))
            pending.append((step + delay, decision.limits))
        run.values.append(plant.limits[watch])
        run.throttled.append(values.get("cpu.throttled_ratio"))
    return run


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


@dataclass
class Batch:
    """A batch container that wants so many cores, and its work so far in CPU seconds."""

    table: Controller
    wants: float = 4.0
    limits: dict[str, int] = field(default_factory=lambda: {QUOTA: INFINITY, WEIGHT: 100})
    base: dict[str, int] = field(default_factory=lambda: {QUOTA: INFINITY, WEIGHT: 100})
    silenced: bool = False
    used: float = 0.0
    work: float = 0.0


@dataclass
class HostPlant:
    """A host with one service and batch containers, by inode."""

    demand: Demand
    batch: dict[int, Batch]
    leak: float = 0.0
    """The share of the time in which the service waits, where batch that is idle by weight has the whole host."""
    plain_leak: float = 0.1
    """The same for batch of ordinary weight."""
    capacity: float = 2.0
    tick: int = 0
    waits: list[float] = field(default_factory=list)

    def scene(self, drop: Callable[[str], bool] = lambda _: False) -> Scene:
        """Return the next tick, without the signals that `drop` names."""
        wanted, self.tick = min(self.demand(self.tick), self.capacity), self.tick + 1
        self._divide(self.capacity - wanted)
        self.waits.append(min(1.0, sum(one.used * self._leak(one) for one in self.batch.values()) / self.capacity))
        used = sum(one.used for one in self.batch.values())
        now = (self.tick + 1) * USEC_PER_SEC
        own = {"cpu.usage": wanted, "pressure.cpu.some": self.waits[-1]}
        host = {"host.cpu.capacity": self.capacity, "host.cpu.usage": wanted + used, "host.pressure.cpu.some": 1.0}
        kept = {name: value for name, value in host.items() if not drop(name)}
        return Scene(
            now_usec=now,
            dt_sec=1.0,
            host=Sample(time_usec=now, values=kept),
            members={inode: (self._member(inode, one, now, drop), one.table) for inode, one in self.batch.items()},
            others={INODE: member({k: v for k, v in own.items() if not drop(k)}, now, current={WEIGHT: 100})},
        )

    def apply(self, decisions: tuple[Decision, ...]) -> None:
        """Write the limits of these decisions."""
        for decision in decisions:
            one = self.batch[decision.inode]
            one.limits |= {n: one.base[n] if v is None else _int(v) for n, v in decision.limits.items()}

    def _divide(self, left: float) -> None:
        """Give what the service leaves to batch, evenly, no one beyond its quota or what it wants."""
        open_ = sorted(self.batch.values(), key=_most)
        for index, one in enumerate(open_):
            one.used = min(_most(one), left / (len(open_) - index))
            left -= one.used
            one.work += one.used

    def _leak(self, one: Batch) -> float:
        return self.leak if one.limits[WEIGHT] == CPU_WEIGHT_IDLE else max(self.leak, self.plain_leak)

    def _member(self, inode: int, one: Batch, now: int, drop: Callable[[str], bool]) -> Member:
        capped = one.limits[QUOTA] != INFINITY
        values = {"cpu.usage": one.used, "pressure.cpu.some": 1.0}
        if capped:
            values["cpu.throttled_ratio"] = 1.0 if one.used >= one.limits[QUOTA] / USEC_PER_SEC - 1e-9 else 0.0
        kept = {name: value for name, value in values.items() if not drop(name)}
        found = member(kept, now, current=dict(one.limits), base=dict(one.base), silenced=one.silenced)
        return replace(found, inode=inode, name=f"batch-{inode}")


def _most(one: Batch) -> float:
    quota = one.limits[QUOTA]
    return one.wants if quota == INFINITY else min(one.wants, quota / USEC_PER_SEC)
