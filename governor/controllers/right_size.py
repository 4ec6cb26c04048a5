"""right-size: the CPUQuota and MemoryHigh that a container's own history asks for; by default as advice only.

The Vertical Pod Autoscaler's recommender, on limits: CPU usage by every sample, memory by the peak of each interval, in
histograms that forget (half-life a day). The target is a percentile (p90) x 1.15; the band around it

  lower = p50 x 1.15 x (1 + 0.001/days)^-2        upper = p95 x 1.15 x (1 + 1/days)

narrows with the days of history. With `apply`, a limit moves where that changes it by a tenth: while the history is
younger than `settled`, only to the near end of the band, then to the target. A cut never goes below what was used since
the last look, a minute ago. Autopilot (Rzadca et al., EuroSys'20) says why it is worth it: slack 46% -> 23%, severe OOM
kills to a tenth.

A history cannot know tomorrow's load. Where a limit that is held here makes the container wait a tenth of the time, in
the mean of a minute, it is given back at once and not set again for an hour.

Memory used is the working set: MemoryHigh below memory.current only takes cache that was not used lately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from governor.controllers._held import Held, Stand, follow
from governor.controllers._need import DAY_SEC, KILLS, THROTTLED, USAGE, WORKING_SET, Band, Forgetting, Need
from governor.controllers._quota import FLOOR_USEC, MEMORY_HIGH, QUOTA, bounds, bounds_complaint, of_cores, quota_text
from governor.controllers._written import number
from governor.model.control import Decision, Expect, Member, Solo, Takes, key
from governor.model.values import INFINITY, USEC_PER_SEC, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

WAITS: Final = "pressure.memory.some"

MIB: Final = 2**20
PAGE_BYTES: Final = 4096
LOOK_SEC: Final = 60.0
"""How often the histories are read; a sample is only added."""
FIRST_SEC: Final = 600.0
"""No advice from a younger history."""
GAP_SEC: Final = 60.0
"""A longer pause between two samples was not observed."""
CHANGE: Final = 0.1
"""VPA's: a smaller relative change is not worth it."""
STRAINED: Final = 0.1
REST_SEC: Final = 3600.0
MAY_WAIT: Final = 0.05
"""A new limit must not make the container wait more than this, or than it waited before."""
MEMORY_FLOOR: Final = 250 * MIB
"""VPA's, unless `min` says another. Its 25 mCPU are below the 5% of a CPU that no quota is below."""
HURTS: Final = MappingProxyType({QUOTA: THROTTLED, MEMORY_HIGH: WAITS})
"""What tells that a limit makes its container wait."""
DIRECTIVE: Final = MappingProxyType({QUOTA: "CPUQuota", MEMORY_HIGH: "MemoryHigh"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What is remembered of one property."""

    held: Held | None = None
    strain: float = 0.0
    """How much of the time the limit that is held made the container wait, a mean over a minute."""
    rest_sec: float = 0.0
    said: int = 0
    """The last advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered of one container."""

    need: Need = field(default_factory=Need)
    look_sec: float = 0.0
    """Time since the last look."""
    peaks: tuple[float, float] = (0.0, 0.0)
    """The most cores and bytes that were used since the last look."""
    seats: Mapping[str, Seat] = field(default_factory=lambda: {QUOTA: Seat(), MEMORY_HIGH: Seat()})


def _span(default_sec: float, low_sec: float, summary: str, example: str) -> Any:
    low, high = low_sec * USEC_PER_SEC, 365 * DAY_SEC * USEC_PER_SEC
    return key(int(default_sec * USEC_PER_SEC), Takes.TIMESPAN, summary, example, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class RightSize(Solo):
    """The table [control.right-size]."""

    name: ClassVar[str] = "right-size"
    summary: ClassVar[str] = "Learns the CPUQuota and MemoryHigh that the container needs; advises, or sets them"
    properties: ClassVar[tuple[str, ...]] = (QUOTA, MEMORY_HIGH)
    signals: ClassVar[tuple[str, ...]] = (USAGE, THROTTLED, WORKING_SET, KILLS, WAITS)

    apply: bool = key(False, Takes.BOOLEAN, "Set the limits; else they are only recommended", "true")
    percentile: float = key(
        0.9,
        Takes.RATIO,
        "Share of the history that the target covers, before a margin of 15%",
        '"90%"',
        low=0.5,
        high=1,
    )
    half_life: int = _span(DAY_SEC, 3600, "Age at which a sample counts half", '"24h"')
    interval: int = _span(DAY_SEC, 60, "Of each such time the highest use of memory counts", '"24h"')
    settled: int = _span(DAY_SEC, 600, "Age of the history from which on the target itself is set", '"24h"')

    def complaint(self) -> str:
        """Return what is wrong with the bounds, "" where nothing is."""
        return bounds_complaint(self, self.properties)

    def start(self) -> State:
        """Return the state of a container that nothing is known of."""
        return State()

    def step(self, state: State, member: Member, dt_sec: float) -> tuple[State, Decision | None]:
        """Return the next state, and limits, advice, or a limit that is given back because it hurts."""
        if dt_sec <= 0 or not {USAGE, WORKING_SET} & member.sample.values.keys():
            return state, None
        seen = self._seen(state, member, min(dt_sec, GAP_SEC))
        hurting = [name for name, seat in seen.seats.items() if seat.strain > STRAINED]
        if hurting:
            return self._relieved(seen, member, hurting)
        if seen.look_sec < LOOK_SEC:
            return seen, None
        looked = replace(seen, look_sec=0.0, peaks=(0.0, 0.0))
        if member.silenced or seen.need.age_sec < FIRST_SEC:
            return looked, None
        return self._set(looked, member, seen.peaks) if self.apply else self._advise(looked, member)

    def dump(self, state: State) -> Any:
        """Return the history as JSON values; what is held is the ledger's to remember."""
        return state.need.dump(self._forgetting())

    def load(self, dumped: Any) -> State:
        """Return the state that dump() told of. Raises ValueError where it is of another form."""
        return State(need=Need.load(dumped))

    def _forgetting(self) -> Forgetting:
        return Forgetting(half_life=self.half_life / USEC_PER_SEC, interval=self.interval / USEC_PER_SEC)

    def _seen(self, state: State, member: Member, dt_sec: float) -> State:
        """Return the state with one more sample in it."""
        cores, size = member.sample.get(USAGE), member.sample.get(WORKING_SET)
        return State(
            need=state.need.seen(member.sample, dt_sec, self._forgetting()),
            look_sec=state.look_sec + dt_sec,
            peaks=(max(state.peaks[0], cores or 0.0), max(state.peaks[1], size or 0.0)),
            seats={name: self._followed(seat, name, member, dt_sec) for name, seat in state.seats.items()},
        )

    def _followed(self, seat: Seat, name: str, member: Member, dt_sec: float) -> Seat:
        """Return the seat as what is in force shows it, with how much the limit that is held hurts."""
        if seat.held is None and not seat.rest_sec:
            return seat
        current, waits = number(member.current, name), member.sample.get(HURTS[name])
        rested = replace(seat, rest_sec=max(0.0, seat.rest_sec - dt_sec))
        if seat.held is None or current is None or member.silenced:
            return replace(rested, strain=0.0, held=None if member.silenced else seat.held)
        held, stand = follow(seat.held, current, member.sample.time_usec)
        if stand is Stand.FOREIGN:
            return Seat(said=seat.said, rest_sec=self.cooldown / USEC_PER_SEC)
        if stand is Stand.ON_ITS_WAY or waits is None:
            return replace(rested, held=held)
        return replace(rested, held=held, strain=seat.strain + (waits - seat.strain) * dt_sec / LOOK_SEC)

    def _relieved(self, state: State, member: Member, names: list[str]) -> tuple[State, Decision]:
        """Give back the limits that hurt: the history did not know this load."""
        why = [
            f"waited for CPU or memory {state.seats[name].strain:.0%} of the time, which the history did not foresee: "
            f"{DIRECTIVE[name]} {_text(name, number(member.current, name))} is given back"
            for name in names
        ]
        rested = {name: Seat(said=state.seats[name].said, rest_sec=REST_SEC) for name in names}
        decision = Decision(inode=member.inode, reason="; ".join(why), limits=dict.fromkeys(names))
        return replace(state, seats={**state.seats, **rested}), decision

    def _advise(self, state: State, member: Member) -> tuple[State, Decision | None]:
        """Recommend all targets as soon as one of them differs by a tenth from what was said last."""
        bands = self._bands(state)
        targets = {name: self._value(member, name, band.target) for name, band in bands.items()}
        if not any(_differs(target, state.seats[name].said) for name, target in targets.items()):
            return state, None
        seats = {name: replace(seat, said=targets.get(name, seat.said)) for name, seat in state.seats.items()}
        why = [self._why(state, member, name, bands[name], value) for name, value in targets.items()]
        return replace(state, seats=seats), Decision(inode=member.inode, reason="; ".join(why), recommend=targets)

    def _set(self, state: State, member: Member, peaks: tuple[float, float]) -> tuple[State, Decision | None]:
        """Set what changes by a tenth; renew the leases that are due."""
        now, seats, why = member.sample.time_usec, dict(state.seats), []
        limits: dict[str, Value | None] = {}
        for name, band in self._bands(state).items():
            current, seat = number(member.current, name), seats[name]
            if current is None or seat.rest_sec > 0 or (seat.held and not seat.held.seen):
                continue
            wanted = self._wanted(state, member, name, band, current, peaks[name == MEMORY_HIGH])
            if _differs(wanted, current):
                seats[name] = replace(seat, held=Held.now(wanted, current, now), strain=0.0)
            elif seat.held and seat.held.due(self.lease, now):
                wanted, seats[name] = seat.held.value, replace(seat, held=seat.held.renewed(now))
            else:
                continue
            limits[name] = wanted
            why.append(self._why(state, member, name, band, wanted))
        if not limits:
            return state, None
        expect = tuple(_expect(member, name) for name in limits)
        decision = Decision(inode=member.inode, reason="; ".join(why), limits=limits, expect=expect)
        return replace(state, seats=seats), decision

    def _wanted(self, state: State, member: Member, name: str, band: Band, current: int, peak: float) -> int:
        """Return the value to be set: a young history only says how far off at least the current one is."""
        target, lower, upper = (self._value(member, name, one) for one in (band.target, band.lower, band.upper))
        is_young = state.need.age_sec * USEC_PER_SEC < self.settled
        wanted = min(max(current, lower), upper) if is_young else target
        return wanted if wanted >= current else min(current, max(wanted, self._value(member, name, peak)))

    def _bands(self, state: State) -> dict[str, Band]:
        cpu, memory = state.need.cpu_band(self.percentile), state.need.memory_band(self.percentile, self._forgetting())
        return {name: band for name, band in ((QUOTA, cpu), (MEMORY_HIGH, memory)) if band}

    def _value(self, member: Member, name: str, amount: float) -> int:
        """Return cores or bytes as the property's value, within the bounds. Static limits do not bound advice."""
        floor = FLOOR_USEC if name == QUOTA else 0 if name in self.min else MEMORY_FLOOR
        low, high = bounds(self, member.base if self.apply else {}, name, floor)
        value = of_cores(amount) if name == QUOTA else math.ceil(amount / PAGE_BYTES) * PAGE_BYTES
        return min(max(value, low), high)

    def _why(self, state: State, member: Member, name: str, band: Band, value: int) -> str:
        amounts = (self._value(member, name, one) for one in (band.lower, band.upper))
        lower, upper = (_text(name, one) for one in amounts)
        age, current = _age_text(state.need.age_sec), _text(name, number(member.current, name))
        history = f"p{self.percentile * 100:g} of {age} with 15% to spare, band {lower} to {upper}"
        return f"{history}: {DIRECTIVE[name]} {current} -> {_text(name, value)}"


def _differs(one: int, other: int) -> bool:
    return abs(one - other) >= CHANGE * other and one != other


def _expect(member: Member, name: str) -> Expect:
    return Expect(inode=member.inode, signal=HURTS[name], gain=0.0, good_enough=MAY_WAIT)


def _age_text(age_sec: float) -> str:
    return f"{age_sec / DAY_SEC:.1f} days" if age_sec >= DAY_SEC else f"{age_sec / 3600:.1f} h"


def _text(name: str, value: int | None) -> str:
    if value is None:
        return "unknown"
    return quota_text(value) if name == QUOTA else "none" if value == INFINITY else f"{value / MIB:.0f}M"
