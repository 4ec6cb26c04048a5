"""cpu-burst: lets a container that is throttled though its mean usage is low save up quota that it left unused.

A quota of 50% is 50 ms in each 100 ms; a request that needs 60 ms at once waits for the next period, though the periods
before were half empty. cpu.max.burst lets unused quota be spent later (Huaixin Chang et al., Linux 5.14): in the long
run the container gets no more than its quota. Koordinator's CPU burst, which steps by x1.2 and x0.8, adapted to it:

  throttled > target, mean usage < 0.9 quota:   burst x 1.2, from a tenth of a period's quota to all of it
  no throttling and no burst used for `quiet`:  burst x 0.8, down to what it was without this controller

At a mean usage near the quota nothing is left to be saved: more burst would not help and less would not harm; it stays.
A burst above a period's quota is refused by the kernel, so it never exceeds that, and follows it down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from governor.controllers._held import Held, Stand, follow
from governor.controllers._quota import BURST, DEAD_BAND, PERIOD, QUOTA, bounds, bounds_complaint
from governor.controllers._written import number
from governor.model.control import Decision, Expect, Member, Solo, Takes, key
from governor.model.values import INFINITY, USEC_PER_SEC

RATIO: Final = "cpu.throttled_ratio"
USAGE: Final = "cpu.usage"
BURSTS: Final = "cpu.bursts"
HOST_PRESSURE: Final = "host.pressure.cpu.some"

DEFAULT_PERIOD_USEC: Final = 100_000
STEP_USEC: Final = 1_000
"""Bursts move in whole ms, by one at least."""
FIRST: Final = 0.1
"""The first burst, as a share of a period's quota."""
RAISE: Final = 1.2
LOWER: Final = 0.8
"""Koordinator's steps."""
SAVES_BELOW: Final = 0.9
"""A mean usage above so much of the quota leaves nothing to save up."""
MEAN_OF: Final = 10
"""Samples that the mean usage is of."""
SLACK: Final = 0.25
"""Throttling swings by so much of itself without any cause."""
HOST_MAY_WAIT: Final = 0.2
"""A host whose tasks wait no more than this has CPU time for bursts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What it remembers of one container."""

    usage: tuple[float, ...] = ()
    """The last usages in cores, the newest last."""
    quiet_sec: float = 0.0
    """For how long it was neither throttled nor used a burst."""
    rest_sec: float = 0.0
    """Time for which somebody else's burst is left alone."""
    held: Held | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The numbers of one step, all of them present; times in µs."""

    now_usec: int
    ratio: float
    usage: float
    burst: int
    quota: int
    per_period: int
    """The quota in a period: the kernel accepts no burst above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuBurst(Solo):
    """The table [control.cpu-burst]. It reads the quota and its period, and moves only CPUBurst."""

    name: ClassVar[str] = "cpu-burst"
    summary: ClassVar[str] = "Sets CPUBurst so that short peaks are not throttled while the mean stays below the quota"
    properties: ClassVar[tuple[str, ...]] = (BURST,)
    reads: ClassVar[tuple[str, ...]] = (QUOTA, PERIOD)
    signals: ClassVar[tuple[str, ...]] = (RATIO, USAGE, BURSTS, HOST_PRESSURE)

    target: float = key(
        0.02, Takes.RATIO, "Share of quota periods in which it may be throttled", '"2%"', low=0.0, high=0.5
    )
    quiet: int = key(
        60 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "How long neither throttled nor bursting before a step is taken back",
        '"1min"',
        low=5 * USEC_PER_SEC,
        high=24 * 3600 * USEC_PER_SEC,
    )

    def complaint(self) -> str:
        """Return what is wrong with the bounds, "" where nothing is."""
        return bounds_complaint(self, self.properties)

    def start(self) -> State:
        """Return the state of a container that nothing is known of."""
        return State()

    def step(self, state: State, member: Member, dt_sec: float) -> tuple[State, Decision | None]:
        """Return the next state, and the burst to be set where it must move or its lease be renewed."""
        sight = _sight(member)
        if sight is None or dt_sec <= 0:
            return state, None
        if member.silenced:
            return State(), None
        held, stand = follow(_within(state.held, sight.per_period), sight.burst, sight.now_usec)
        if stand is Stand.FOREIGN:
            return State(rest_sec=self.cooldown / USEC_PER_SEC), None
        if stand is Stand.ON_ITS_WAY:
            return replace(state, held=held), None
        seen = _seen(replace(state, held=held), sight, member.sample.get(BURSTS), dt_sec)
        if seen.rest_sec > 0 or len(seen.usage) < MEAN_OF:
            return seen, None
        return self._decide(seen, member, sight)

    def _decide(self, state: State, member: Member, sight: Sight) -> tuple[State, Decision | None]:
        """Raise at once, lower a step after each `quiet`, else stay."""
        mean = sum(state.usage) / len(state.usage)
        why = f"throttled in {sight.ratio:.0%} of periods, target {self.target:.0%}"
        if sight.ratio > self.target and mean < SAVES_BELOW * sight.quota / USEC_PER_SEC:
            why += f", though it uses {mean:.2f} cores of {sight.quota / USEC_PER_SEC:.2f}"
            return self._raise(state, member, sight, why)
        low = self._bounds(member, sight)[0]
        if state.quiet_sec * USEC_PER_SEC >= self.quiet and sight.burst > low:
            why = f"neither throttled nor bursting for {state.quiet_sec:.0f} s"
            return self._lower(state, member, sight, why)
        return self._stay(state, member, sight, why)

    def _bounds(self, member: Member, sight: Sight) -> tuple[int, int]:
        """Return the least and the most burst in µs: the static one, or `min`; `max`, or all of a period's quota."""
        low, high = bounds(self, member.base, BURST, 0)
        high = min(high if BURST in self.max else INFINITY, sight.per_period)
        return min(max(low, number(member.base, BURST) or 0), high), high

    def _raise(self, state: State, member: Member, sight: Sight, why: str) -> tuple[State, Decision | None]:
        wanted = max(sight.burst * RAISE, sight.burst + STEP_USEC, FIRST * sight.per_period)
        bounded = min(_whole(wanted), self._bounds(member, sight)[1])
        if bounded <= sight.burst * (1 + DEAD_BAND):
            return self._stay(state, member, sight, why)
        return self._move(state, member, sight, bounded, why)

    def _lower(self, state: State, member: Member, sight: Sight, why: str) -> tuple[State, Decision | None]:
        low = self._bounds(member, sight)[0]
        lowered = min(_whole(sight.burst * LOWER), sight.burst - STEP_USEC)
        return self._move(state, member, sight, low if lowered < FIRST * sight.per_period else max(lowered, low), why)

    def _stay(self, state: State, member: Member, sight: Sight, why: str) -> tuple[State, Decision | None]:
        if state.held is None or not state.held.due(self.lease, sight.now_usec):
            return state, None
        reason = f"{why}: burst stays {_text(sight.burst)}"
        decision = Decision(inode=member.inode, reason=reason, limits={BURST: sight.burst})
        return replace(state, held=state.held.renewed(sight.now_usec)), decision

    def _move(self, state: State, member: Member, sight: Sight, wanted: int, why: str) -> tuple[State, Decision]:
        """Ask for the burst `wanted`; what the container has without this controller is given back, not set."""
        given_back = wanted == member.base.get(BURST)
        decision = Decision(
            inode=member.inode,
            reason=f"{why}: burst {_text(sight.burst)} -> {_text(wanted)}",
            limits={BURST: None if given_back else wanted},
            expect=self._expect(member, is_raise=wanted > sight.burst),
        )
        held = Held.now(wanted, sight.burst, sight.now_usec)
        return replace(state, held=None if given_back else held, quiet_sec=0.0), decision

    def _expect(self, member: Member, *, is_raise: bool) -> tuple[Expect, ...]:
        """Return that throttling does not get worse; and, as a burst is taken from neighbours, nor the host's wait."""
        own = Expect(inode=member.inode, signal=RATIO, gain=-SLACK if is_raise else 0.0, good_enough=self.target)
        host = Expect(inode=0, signal=HOST_PRESSURE, gain=-2 * SLACK, good_enough=HOST_MAY_WAIT)
        return (own, host) if is_raise else (own,)


def _sight(member: Member) -> Sight | None:
    """Return this step's numbers; None where one is absent, or without a quota, which needs no burst."""
    burst, quota = number(member.current, BURST), number(member.current, QUOTA)
    ratio, usage = member.sample.get(RATIO), member.sample.get(USAGE)
    if burst is None or quota is None or quota == INFINITY or ratio is None or usage is None:
        return None
    period = number(member.current, PERIOD)
    length = DEFAULT_PERIOD_USEC if period is None or period == INFINITY else period
    per_period = quota * length // USEC_PER_SEC
    return Sight(
        now_usec=member.sample.time_usec,
        ratio=ratio,
        usage=usage,
        burst=min(burst, per_period),
        quota=quota,
        per_period=per_period,
    )


def _seen(state: State, sight: Sight, bursts: float | None, dt_sec: float) -> State:
    """Return the state with one more sample. Where bursts are not counted, one may be in use: that is not quiet."""
    is_quiet = sight.ratio == 0 and bursts == 0
    return replace(
        state,
        usage=(*state.usage[1 - MEAN_OF :], sight.usage),
        quiet_sec=state.quiet_sec + dt_sec if is_quiet else 0.0,
        rest_sec=max(0.0, state.rest_sec - dt_sec),
    )


def _within(held: Held | None, per_period: int) -> Held | None:
    """Return what is held once the quota has become smaller: no burst above it can be in force."""
    return replace(held, value=per_period) if held is not None and held.value > per_period else held


def _whole(burst_usec: float) -> int:
    return math.ceil(round(burst_usec) / STEP_USEC) * STEP_USEC


def _text(burst_usec: int) -> str:
    return f"{burst_usec / 1000:g} ms"
