"""headroom: batch containers get the CPU time that everything else leaves, and give it back at once.

Two means, and what each of them costs. A quota holds batch back even while a CPU idles: measured on 2 CPUs, 50% keeps
the service's p99 and loses 3/4 of the batch work. A weight costs nothing: beside a service of ordinary weight,
CPUWeight=idle (SCHED_IDLE) keeps .86 of the batch work, which is all that the service leaves, and the service hardly
waits, as its tasks preempt idle ones on waking. So weight comes first, and the quota only where weight is seen not to
suffice: weights count among siblings only, so that batch in another slice than the service competes at that slice's
weight; and hyper-threads, caches and sections of the kernel that cannot be preempted know no weight at all.

The evidence is the others' CPU pressure: the share of time in which one of their tasks could run but did not. Where it
stays above `pressure` for 3 s while batch runs, the cap tightens by a notch; batch is then limited to

  allowance = capacity (1 - headroom) - max(5 s mean, 1 s mean of what everything else uses)       at the first notch
              x 0.8 for each notch more

(Koordinator's suppress with the means of Meta's sideloader). The allowance drops at once, rises by at most a tenth of
the host a second and ignores changes below 1% of it. A notch is given back after `quiet` without pressure; twice as
long after each relapse, so that a host on which weight does not suffice is not tried again every minute. A cap that
does not help is undone: it expects that who waited longest waits less. With weight = "keep" the cap always stands.

The allowance is shared by the weights that the containers have without this controller; what one does not use goes to
those that are throttled. Where members' tables differ, the most careful headroom, pressure and quiet hold for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from governor.controllers._allowance import DEAD_BAND, Allowance, Rules
from governor.controllers._held import Held, Stand, follow
from governor.controllers._quota import QUOTA, WEIGHT, at_most, bounds_complaint, quota_bounds, quota_text
from governor.controllers._share import Claim, share
from governor.controllers._spare import (
    CAPACITY,
    HOST_PRESSURE,
    HOST_USAGE,
    OWN_DOING,
    PRESSURE,
    RATIO,
    USAGE,
    Load,
    Wait,
    load_of,
    longest_wait,
)
from governor.controllers._written import number
from governor.model.control import Decision, Expect, Joint, Member, Scene, Takes, key
from governor.model.values import CPU_WEIGHT_IDLE, INFINITY, USEC_PER_SEC, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

IDLE: Final = "idle"
KEEP: Final = "keep"

SHIFT_BAND: Final = 0.05
"""Where only the shares shift, and not what is shared, a smaller part of the host is not worth a write."""
IS_LIMITED: Final = 0.9
"""Who uses so much of its quota wants more."""
SPARE: Final = 1.25
"""Who does not is left so many times what it uses."""
HELPS: Final = 0.1
"""A cap that costs batch work must take a tenth of the waiting away."""
HURTS: Final = -1.0
"""Where batch is given more, the others' waiting must not double."""
DEFAULT_WEIGHT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What is remembered of one member."""

    quota: Held | None = None
    weight: Held | None = None
    rest_sec: float = 0.0
    """Time for which what somebody else wrote is left alone."""
    movable: bool = True
    """Whether it may be acted on now: all that was asked for is in force, nobody else has written."""

    @property
    def held(self) -> dict[str, Held]:
        """What is held of it, by property."""
        return {name: held for name, held in ((QUOTA, self.quota), (WEIGHT, self.weight)) if held}


@dataclass(frozen=True, slots=True)
class Move:
    """One property's change: None gives it back."""

    name: str
    value: int | None
    why: str
    expect: tuple[Expect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered of the host."""

    allowance: Allowance = field(default_factory=Allowance)
    seats: Mapping[int, Seat] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """All that one tick decides by."""

    rules: Rules
    load: Load
    wait: Wait | None
    allowance: Allowance
    band_usec: float
    """A quota that would change by less stays."""
    now_usec: int

    def expect(self, gain: float) -> tuple[Expect, ...]:
        """Return that who waits longest waits less by `gain`, or no longer than is allowed.

        Nothing where that is the host: its pressure has the batch's own waiting in it, which a cap makes longer.
        """
        if self.wait is None or not self.wait.inode:
            return ()
        return (Expect(inode=self.wait.inode, signal=PRESSURE, gain=gain, good_enough=self.rules.pressure),)

    @property
    def reason(self) -> str:
        """The host's numbers, in words."""
        load, rules, wait = self.load, self.rules, self.wait
        used = f"others use {load.others:.2f} of {load.capacity:g} cores, {rules.headroom:.0%} stay free"
        waits = f", {wait.name} waits for CPU {wait.ratio:.0%} of the time, limit {rules.pressure:.0%}" if wait else ""
        return f"{used}{waits}, batch may use {self.allowance.cores:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom(Joint):
    """The table [control.headroom]."""

    name: ClassVar[str] = "headroom"
    summary: ClassVar[str] = "Gives batch containers the CPU time that everything else leaves"
    properties: ClassVar[tuple[str, ...]] = (QUOTA, WEIGHT)
    signals: ClassVar[tuple[str, ...]] = (USAGE, RATIO, PRESSURE, HOST_USAGE, CAPACITY, HOST_PRESSURE)

    headroom: float = key(
        0.2, Takes.RATIO, "Share of the host's CPUs that capped batch leaves free", '"20%"', low=0.0, high=0.9
    )
    pressure: float = key(
        0.05, Takes.RATIO, "Share of time in which another container may wait for CPU", '"5%"', low=0.01, high=1.0
    )
    weight: str = key(
        IDLE,
        Takes.CHOICE,
        "idle: lower CPUWeight first, cap only where that does not suffice; keep: always cap",
        '"idle"',
        choices=(IDLE, KEEP),
    )
    quiet: int = key(
        60 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "Time without pressure before a notch of the cap is given back; doubled after each relapse",
        '"1min"',
        low=10 * USEC_PER_SEC,
        high=3600 * USEC_PER_SEC,
    )

    def complaint(self) -> str:
        """Return what is wrong with the bounds, "" where nothing is."""
        return bounds_complaint(self, (QUOTA,))

    @classmethod
    def start_all(cls) -> State:
        """Return the state of a host that nothing is known of."""
        return State()

    @classmethod
    def step_all(cls, state: State, scene: Scene) -> tuple[State, tuple[Decision, ...]]:
        """Return the next state and a decision for each member whose weight or quota must move or be renewed."""
        load = load_of(scene)
        tables = {inode: table for inode, (_, table) in scene.members.items() if isinstance(table, cls)}
        if load is None or not tables or scene.dt_sec <= 0:
            return state, ()
        seats = {inode: _seat(state, scene, inode, table) for inode, table in tables.items()}
        turn = _turn(state, scene, load, tables, seats)
        quotas, found = _quotas(scene, turn, tables, seats), []
        for inode, table in tables.items():
            if seats[inode].movable:
                seats[inode], decision = table.decide(turn, scene.members[inode][0], seats[inode], quotas[inode])
                found += [decision] if decision else []
        return State(allowance=turn.allowance, seats=seats), tuple(found)

    def decide(self, turn: Turn, member: Member, seat: Seat, wanted: int) -> tuple[Seat, Decision | None]:
        """Return the seat after, and what to do about one member that shall have the quota `wanted` if it is capped."""
        moves = [*self._weighed(turn, member, seat), *self._capped(turn, member, seat, wanted)]
        due = any(held.due(self.lease, turn.now_usec) for held in (seat.quota, seat.weight) if held)
        if not moves and not due:
            return seat, None
        limits: dict[str, Value | None] = {name: held.value for name, held in seat.held.items()}
        limits |= {move.name: move.value for move in moves}
        reason = "; ".join(move.why for move in moves) or f"{turn.reason}: stays as it is"
        expect = moves[-1].expect if moves else ()
        decision = Decision(inode=member.inode, reason=reason, limits=limits, expect=expect)
        return _asked(seat, member, moves, turn.now_usec), decision

    def lowers_weight(self, member: Member, seat: Seat) -> bool:
        """Return whether the weight is to be lowered yet. Where it is not what it was, somebody else has set it."""
        weight, base = number(member.current, WEIGHT), number(member.base, WEIGHT)
        untouched = weight is not None and weight == base != CPU_WEIGHT_IDLE
        return self.weight == IDLE and untouched and seat.weight is None

    def _weighed(self, turn: Turn, member: Member, seat: Seat) -> list[Move]:
        if not self.lowers_weight(member, seat):
            return []
        why = f"batch yields to everything else: CPU weight {member.current[WEIGHT]} -> idle"
        return [Move(WEIGHT, CPU_WEIGHT_IDLE, why, turn.expect(-HELPS))]

    def _capped(self, turn: Turn, member: Member, seat: Seat, wanted: int) -> list[Move]:
        """Cap it, or lift the cap."""
        quota = member.current[QUOTA]
        assert isinstance(quota, int)
        if self.weight == IDLE and not turn.allowance.notch:
            why = f"{turn.reason}: its weight suffices, quota {quota_text(quota)} is lifted"
            return [Move(QUOTA, None, why)] if seat.quota else []
        if wanted == quota or abs(wanted - quota) < turn.band_usec:
            return []
        gain = HURTS if wanted > quota else HELPS if self.weight == IDLE else -HELPS
        why = f"{turn.reason}: quota {quota_text(quota)} -> {quota_text(wanted)}"
        return [Move(QUOTA, wanted, why, turn.expect(gain))]


def _most_careful(tables: Mapping[int, Headroom]) -> Rules:
    """Return the rules for the host: of each key the most careful value that a member's policy has."""
    return Rules(
        headroom=max(table.headroom for table in tables.values()),
        pressure=min(table.pressure for table in tables.values()),
        quiet_sec=max(table.quiet for table in tables.values()) / USEC_PER_SEC,
    )


def _turn(state: State, scene: Scene, load: Load, tables: Mapping[int, Headroom], seats: Mapping[int, Seat]) -> Turn:
    rules = _most_careful(tables)
    movable = sum(
        scene.members[inode][0].sample.values[USAGE]
        for inode, table in tables.items()
        if seats[inode].movable and not table.lowers_weight(scene.members[inode][0], seats[inode])
    )
    wait = longest_wait(scene)
    allowance = state.allowance.next(load, wait, rules, movable, scene.dt_sec)
    band = DEAD_BAND if allowance.cores != state.allowance.cores else SHIFT_BAND
    # Divided, for what all members' quotas lag behind together must stay within the band.
    usec = band * load.capacity * USEC_PER_SEC / len(seats)
    return Turn(rules=rules, load=load, wait=wait, allowance=allowance, band_usec=usec, now_usec=scene.now_usec)


def _seat(state: State, scene: Scene, inode: int, table: Headroom) -> Seat:
    """Return a member's seat as what is in force shows it; not movable where its quota is unknown or it is silenced."""
    member, seat = scene.members[inode][0], state.seats.get(inode, Seat())
    quota, weight = number(member.current, QUOTA), number(member.current, WEIGHT)
    if quota is None or member.silenced:
        return Seat(movable=False) if member.silenced else replace(seat, movable=False)
    held, stands = follow(seat.quota, quota, scene.now_usec)
    lowered, yields = (seat.weight, Stand.OURS) if weight is None else follow(seat.weight, weight, scene.now_usec)
    found = {stands, yields}
    rest = max(0.0, seat.rest_sec - scene.dt_sec)
    if Stand.FOREIGN in found:
        rest = table.cooldown / USEC_PER_SEC
    return Seat(quota=held, weight=lowered, rest_sec=rest, movable=found == {Stand.OURS} and rest <= 0)


def _asked(seat: Seat, member: Member, moves: list[Move], now_usec: int) -> Seat:
    """Return the seat once these moves are asked for, which renews what was held before."""
    held: dict[str, Held | None] = {name: one.renewed(now_usec) for name, one in seat.held.items()}
    for move in moves:
        before = member.current[move.name]
        assert isinstance(before, int)
        held[move.name] = None if move.value is None else Held.now(move.value, before, now_usec)
    return replace(seat, quota=held.get(QUOTA), weight=held.get(WEIGHT))


def _quotas(scene: Scene, turn: Turn, tables: Mapping[int, Headroom], seats: Mapping[int, Seat]) -> dict[int, int]:
    """Return each movable member's part of the allowance, less what those use who cannot be moved; whole percents."""
    claims = {inode: _claim(tables[inode], scene.members[inode][0]) for inode, seat in seats.items() if seat.movable}
    fixed = sum(scene.members[inode][0].sample.values[USAGE] for inode, seat in seats.items() if not seat.movable)
    parts = share((turn.allowance.cores or 0.0) - fixed, claims)
    lows = {inode: quota_bounds(tables[inode], scene.members[inode][0])[0] for inode in claims}
    return {inode: max(lows[inode], at_most(cores)) for inode, cores in parts.items()}


def _claim(table: Headroom, member: Member) -> Claim:
    low, high = quota_bounds(table, member)
    usage, weight, quota = member.sample.values[USAGE], number(member.base, WEIGHT), member.current[QUOTA]
    assert isinstance(quota, int)
    limited = (member.sample.get(RATIO) or 0.0) > OWN_DOING or usage * USEC_PER_SEC >= IS_LIMITED * quota
    return Claim(
        weight=DEFAULT_WEIGHT if weight is None or weight == INFINITY else max(weight, 1),
        low=low / USEC_PER_SEC,
        want=math.inf if limited or quota == INFINITY else usage * SPARE,
        high=math.inf if high == INFINITY else high / USEC_PER_SEC,
    )
