"""cpu-throttle: the smallest CPU quota at which a container is throttled no more often than its target.

Captain of Autothrottle (Wang et al., NSDI'24): throttling tells early that a service lacks CPU, long before its
utilisation does. It samples each 100 ms and decides each second; r is the share of quota periods that were throttled:

  r > 3 target       quota x (1 + r - 3 target), at once
  else               L = highest usage + m deviations of the usage; L <= 0.9 quota: quota = max(L, quota x (1 - step))
  after each second  m = max(0, m + r - target)
  within a second of a cut, r > 3 target:  quota = 2 x what it was - what it is: the cut and as much again is given back

Added to the paper's: bounds, floor, whole percents, a bound on m (an hour at the upper bound must not keep the quota
there for the rest of the day), 5% spare above the highest usage (under an even load the deviation is 0, and a quota
that equals the usage throttles), and leaving alone what somebody else has written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from governor.controllers._held import Held, Stand, follow
from governor.controllers._quota import (
    DEAD_BAND,
    QUOTA,
    bounds_complaint,
    of_cores,
    quota_bounds,
    quota_text,
    whole,
)
from governor.controllers._written import number
from governor.model.control import Decision, Expect, Member, Solo, Takes, key
from governor.model.values import INFINITY, USEC_PER_SEC

if TYPE_CHECKING:
    from governor.model.signal import Sample

RATIO: Final = "cpu.throttled_ratio"
USAGE: Final = "cpu.usage"

ALARM: Final = 3.0
"""Captain's alpha: above so many times the target a service needs more."""
CUT_BELOW: Final = 0.9
"""Captain's beta_max: a cut that would take less than a tenth is not made."""
HISTORY: Final = 50
"""Usage samples that are remembered: 5 s at 100 ms."""
FIRST_MARGIN: Final = 3.0
MOST_MARGIN: Final = 10.0
SPARE: Final = 1.05
START: Final = 3.0
"""Where there is no quota and no `max`, the first quota is so many times the highest usage."""
DECIDE_SEC: Final = 0.95
"""A second, less what ten floats of a tenth may lack."""
GAP_SEC: Final = 5.0
"""After a longer pause (suspend, a stuck host) the numbers before it say nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen since the last decision, in seconds of the time that passed."""

    elapsed: float = 0.0
    known: float = 0.0
    """Of which the share of throttled periods is known: some period ran."""
    throttled: float = 0.0

    def plus(self, ratio: float | None, dt_sec: float) -> Window:
        """Return the window with one more sample; an absent ratio makes time pass, and nothing else."""
        if ratio is None:
            return replace(self, elapsed=self.elapsed + dt_sec)
        return Window(self.elapsed + dt_sec, self.known + dt_sec, self.throttled + ratio * dt_sec)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What it remembers of one container."""

    usage: tuple[float, ...] = ()
    """The last usages in cores, the newest last."""
    window: Window = field(default_factory=Window)
    margin: float = FIRST_MARGIN
    """Captain's m."""
    held: Held | None = None
    cut_from: int = 0
    """The quota before the cut that may still be rolled back; 0 = there is none."""
    rest_sec: float = 0.0
    """Time for which somebody else's quota is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuThrottle(Solo):
    """The table [control.cpu-throttle]."""

    name: ClassVar[str] = "cpu-throttle"
    summary: ClassVar[str] = "Sets CPUQuota to the least at which the container is throttled no more than its target"
    properties: ClassVar[tuple[str, ...]] = (QUOTA,)
    signals: ClassVar[tuple[str, ...]] = (RATIO, USAGE)
    interval_usec: ClassVar[int] = 100_000

    target: float = key(
        0.05, Takes.RATIO, "Share of quota periods in which it may be throttled", "0.05", low=0.005, high=0.3
    )
    cut: float = key(
        0.5,
        Takes.RATIO,
        "The most of the quota that one cut takes; a raise at most doubles it",
        '"50%"',
        low=0.1,
        high=0.9,
    )

    def complaint(self) -> str:
        """Return what is wrong with the bounds, "" where nothing is."""
        return bounds_complaint(self, self.properties)

    def start(self) -> State:
        """Return the state of a container that nothing is known of."""
        return State()

    def step(self, state: State, member: Member, dt_sec: float) -> tuple[State, Decision | None]:
        """Return the next state, and the quota to be set where it must move or its lease be renewed."""
        quota, usage = number(member.current, QUOTA), member.sample.get(USAGE)
        if quota is None or usage is None or dt_sec <= 0:
            return state, None
        held, stand = follow(state.held, quota, member.sample.time_usec)
        if member.silenced:
            return State(margin=state.margin), None
        if stand is Stand.FOREIGN:
            return State(margin=state.margin, rest_sec=self.cooldown / USEC_PER_SEC), None
        if stand is Stand.ON_ITS_WAY:
            return replace(state, held=held), None
        seen = self._seen(replace(state, held=held), member.sample, usage, dt_sec)
        if seen.rest_sec > 0:
            return replace(seen, window=Window()), None
        return self._begin(seen, member) if quota == INFINITY else self._adjust(seen, member, quota)

    def _seen(self, state: State, sample: Sample, usage: float, dt_sec: float) -> State:
        """Return the state with one more sample in it."""
        fresh = replace(state, usage=(), window=Window()) if dt_sec > GAP_SEC else state
        return replace(
            fresh,
            usage=(*fresh.usage[1 - HISTORY :], usage),
            window=fresh.window.plus(sample.get(RATIO), dt_sec),
            rest_sec=max(0.0, fresh.rest_sec - dt_sec),
        )

    def _begin(self, state: State, member: Member) -> tuple[State, Decision | None]:
        """Set the first quota of a container without one: `max`, or a multiple of what it is seen to use."""
        low, high = quota_bounds(self, member)
        if high != INFINITY:
            return self._move(state, member, INFINITY, high, f"no quota yet, starts from max {quota_text(high)}")
        if len(state.usage) < HISTORY:
            return state, None
        most = max(state.usage)
        why = f"no quota yet, starts from {START:g} x the highest usage in {HISTORY} samples, {most:.2f} cores"
        return self._move(state, member, INFINITY, max(low, of_cores(START * most)), why)

    def _adjust(self, state: State, member: Member, quota: int) -> tuple[State, Decision | None]:
        """Take a cut back at once, else decide once a second."""
        alarm, window = ALARM * self.target, state.window
        if state.cut_from and window.throttled > alarm:
            why = f"throttled {window.throttled:.1f} s in the second after the cut from {quota_text(state.cut_from)}"
            learnt = self._learnt(state, window.throttled)
            return self._raise(learnt, member, quota, 2 * state.cut_from - quota, why)
        if window.elapsed < DECIDE_SEC:
            return state, None
        # Time without a period counts as quiet here: a raise needs no more evidence than this lower bound.
        ratio = window.throttled / window.elapsed
        if ratio > alarm:
            raised = quota * (1 + ratio - alarm)
            return self._raise(self._learnt(state, ratio), member, quota, raised, self._throttled(ratio))
        if window.known < window.elapsed / 2:
            return replace(state, window=Window(), cut_from=0), None
        return self._lower(self._learnt(state, window.throttled / window.known), member, quota)

    def _lower(self, state: State, member: Member, quota: int) -> tuple[State, Decision | None]:
        """Cut down to what the usage of the last seconds needs, where that is a tenth less."""
        ratio = state.window.throttled / state.window.known
        why = self._throttled(ratio)
        if ratio > ALARM * self.target or len(state.usage) < HISTORY:
            return self._stay(state, member, quota, why)
        most, spread = max(state.usage), _deviation(state.usage)
        need = max(of_cores(SPARE * most + state.margin * spread), quota_bounds(self, member)[0])
        lowered = max(need, whole(quota * (1 - self.cut)))
        if need > CUT_BELOW * quota or lowered >= quota:
            return self._stay(state, member, quota, why)
        why += f", highest usage {most:.2f} cores, deviation {spread:.2f} x margin {state.margin:.1f}"
        return self._move(state, member, quota, lowered, why)

    def _raise(
        self, state: State, member: Member, quota: int, raised: float, why: str
    ) -> tuple[State, Decision | None]:
        bounded = min(whole(raised), quota_bounds(self, member)[1])
        if bounded <= quota * (1 + DEAD_BAND):
            return self._stay(state, member, quota, why)
        return self._move(state, member, quota, bounded, why)

    def _stay(self, state: State, member: Member, quota: int, why: str) -> tuple[State, Decision | None]:
        """Begin a new second with the same quota; renew its lease where that is due."""
        settled = replace(state, window=Window(), cut_from=0)
        if state.held is None or not state.held.due(self.lease, member.sample.time_usec):
            return settled, None
        decision = Decision(inode=member.inode, reason=f"{why}: quota stays {quota_text(quota)}", limits={QUOTA: quota})
        return replace(settled, held=state.held.renewed(member.sample.time_usec)), decision

    def _move(self, state: State, member: Member, quota: int, wanted: int, why: str) -> tuple[State, Decision]:
        """Ask for the quota `wanted` in place of `quota`."""
        is_cut = wanted < quota
        decision = Decision(
            inode=member.inode,
            reason=f"{why}: quota {quota_text(quota)} -> {quota_text(wanted)}",
            limits={QUOTA: wanted},
            expect=(self._expect(member, is_cut=is_cut),),
        )
        # A raise or the first quota is not rolled back: 2 x what it was - what it is would be less, or no number.
        cut_from = quota if is_cut and quota != INFINITY else 0
        held = Held.now(wanted, quota, member.sample.time_usec)
        return replace(state, held=held, window=Window(), cut_from=cut_from), decision

    def _expect(self, member: Member, *, is_cut: bool) -> Expect:
        """Return that a cut does not throttle beyond the alarm, and that with a raise throttling does not double.

        No more is asked of a raise: taking it back because the load rose further would harm just when it is needed.
        """
        gain = 0.0 if is_cut else -1.0
        return Expect(inode=member.inode, signal=RATIO, gain=gain, good_enough=ALARM * self.target)

    def _learnt(self, state: State, ratio: float) -> State:
        return replace(state, margin=min(MOST_MARGIN, max(0.0, state.margin + ratio - self.target)))

    def _throttled(self, ratio: float) -> str:
        return f"throttled in {ratio:.0%} of periods, target {self.target:.0%}"


def _deviation(values: tuple[float, ...]) -> float:
    """Return the standard deviation of a whole population; the library's would cost a megabyte of decimals."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
