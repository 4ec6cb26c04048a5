"""io-pressure: holds up containers that yield, just so much that protected ones wait for IO hardly longer than alone.

AIMD towards the highest bandwidth at which the protected container's pressure is as allowed: cut at once and by a
factor, give back in small steps. A fixed cap that protects as well keeps a thirtieth of the batch's work (measured in a
guest). Weights cost nobody anything, so they go first where they act (io.cost or BFQ); elsewhere IOWeight is absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from governor.controllers import _io_cap as caps_of
from governor.controllers import _io_strain as strain_of
from governor.controllers._io_cap import FLOOR_BYTES, SIGNALS, Yielder
from governor.controllers._io_moves import WEIGHT, Moves
from governor.controllers._io_strain import Protected, Strain
from governor.controllers._written import crossed
from governor.model.control import Joint, Takes, key
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Decision, Member, Scene

SETTLE_USEC: Final = USEC_PER_SEC
"""After an action the next is judged only by what comes later than this: the queue has to drain."""
LEAST_LOOKS: Final = 2
IDLE_BYTES: Final = 2 * FLOOR_BYTES
"""Traffic, for each container that yields, below which the protected ones count as alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of all containers that opted in."""

    protected: Mapping[int, Protected] = field(default_factory=dict)
    yielders: Mapping[int, Yielder] = field(default_factory=dict)
    acted_usec: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IoPressure(Joint):
    """Lowers weight, then bandwidth, of those that yield, until the protected ones wait as little as allowed."""

    name: ClassVar[str] = "io-pressure"
    summary: ClassVar[str] = "Keeps a service's IO fast by holding up those that yield"
    properties: ClassVar[tuple[str, ...]] = (WEIGHT, *SIGNALS)
    signals: ClassVar[tuple[str, ...]] = (
        "pressure.io.some",
        "io.read_bytes",
        "io.write_bytes",
        "io.reads",
        "io.writes",
    )

    role: str = key(
        "protect",
        Takes.CHOICE,
        "Whether it is protected or yields to those that are",
        '"yield"',
        choices=("protect", "yield"),
    )
    target: float = key(
        0.01,
        Takes.RATIO,
        "Share of time that a protected container may wait for IO; 1.2 times what it waits alone is always allowed",
        '"1%"',
        low=0.001,
        high=0.9,
    )
    window: int = key(
        3 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "Over how long pressure is averaged before something is given back",
        '"3s"',
        low=2 * USEC_PER_SEC,
        high=300 * USEC_PER_SEC,
    )
    calm: int = key(
        60 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "After how long without need what is left of the limits is removed",
        '"1min"',
        low=5 * USEC_PER_SEC,
        high=24 * 3600 * USEC_PER_SEC,
    )

    def complaint(self) -> str:
        """Return what is wrong with the combination of keys; "" where nothing is."""
        for name in SIGNALS:
            low, high = (
                caps_of.bound(table, name, least=least) for table, least in ((self.min, True), (self.max, False))
            )
            if low is not None and high is not None and low > high:
                return f"min is above max: {name}"
        return crossed(self.min, self.max)

    @classmethod
    def start_all(cls) -> State:
        """Return the state before the first step."""
        return State()

    @classmethod
    def step_all(cls, state: State, scene: Scene) -> tuple[State, tuple[Decision, ...]]:
        """Return the next state, at most one move, and what must be asked for again before its lease ends."""
        round_ = _Round(scene)
        state = round_.observed(state)
        if not round_.protect:
            return round_.all_back(state)
        strains = round_.strains(state)
        if not strains:
            return state, ()
        state, moved = round_.act(state, strains)
        return round_.renewed(state, moved)


class _Round:
    """One step: who takes part, and what becomes of them."""

    def __init__(self, scene: Scene) -> None:
        self.now = scene.now_usec
        self.dt_sec = scene.dt_sec
        both = {i: (m, s) for i, (m, s) in scene.members.items() if isinstance(s, IoPressure)}
        self.protect = {i: pair for i, pair in both.items() if pair[1].role == "protect"}
        self.give = {i: pair for i, pair in both.items() if pair[1].role == "yield"}

    def observed(self, state: State) -> State:
        """Return the state with this tick's traffic and pressure; those that are gone are dropped."""
        yielders = {i: self._yielder(state.yielders.get(i, Yielder()), *pair) for i, pair in self.give.items()}
        protected = {}
        for inode, (member, settings) in self.protect.items():
            before = state.protected.get(inode, Protected())
            after = strain_of.seen(before, member.sample, settings.window)
            fresh = len(after.looks) and after.looks[-1].time_usec == member.sample.time_usec
            alone = fresh and self._idle(after, yielders)
            protected[inode] = strain_of.learnt(after, self.dt_sec) if alone else after
        return replace(state, yielders=yielders, protected=protected)

    def _yielder(self, before: Yielder, member: Member, settings: IoPressure) -> Yielder:
        after = caps_of.observed(before, member.sample, self.dt_sec)
        if member.silenced:
            return after.released()
        written = {name: w.looked(member.current.get(name)) for name, w in after.written.items()}
        after = replace(after, written=written)
        theirs = [w for name, w in written.items() if w.foreign(member.current.get(name), self.now)]
        if not theirs:
            return after
        lapsed = all(written.lapsed(settings.lease, self.now) for written in theirs)
        return replace(after.released(), avoid_until_usec=self.now + (0 if lapsed else settings.lease))

    def _idle(self, protected: Protected, yielders: Mapping[int, Yielder]) -> bool:
        """Return whether those that yield leave the protected one's devices nearly alone."""
        used = [device for device, _ in protected.devices]
        traffic = sum(yielder.on(device) for yielder in yielders.values() for device in used)
        known = bool(used) and all(yielder.read for yielder in yielders.values())
        return known and traffic <= IDLE_BYTES * max(len(yielders), 1)

    def strains(self, state: State) -> dict[int, Strain]:
        """Return how each protected container fares, as far as it is known."""
        since = state.acted_usec + SETTLE_USEC
        found = {
            inode: strain_of.strain(state.protected[inode], inode, member.name, settings.target, since)
            for inode, (member, settings) in self.protect.items()
        }
        return {inode: strain for inode, strain in found.items() if strain is not None}

    def act(self, state: State, strains: Mapping[int, Strain]) -> tuple[State, Decision | None]:
        """Cut where somebody waits too long, give back where nobody does; one move at a time."""
        if not all(strain.easy for strain in strains.values()):
            careful = {inode: replace(yielder, raises=0) for inode, yielder in state.yielders.items()}
            state = replace(state, yielders=careful)
        pressed = [s for s in strains.values() if s.sure and s.looks >= LEAST_LOOKS]
        for strain in sorted(pressed, key=lambda each: -each.ratio):
            state, decision = self._cut(state, strain)
            if decision is not None:
                return replace(state, acted_usec=self.now), decision
        if pressed or not self._measured(state):
            return state, None
        return self._give_back(state, strains)

    def _measured(self, state: State) -> bool:
        window = max(settings.window for _, settings in self.protect.values())
        return self.now - state.acted_usec >= SETTLE_USEC + window

    def _cut(self, state: State, strain: Strain) -> tuple[State, Decision | None]:
        """Hold up whoever has most traffic on a device that the strained one uses."""
        protected = state.protected[strain.inode]
        options = [
            (yielder.on(device), inode, device)
            for inode, yielder in state.yielders.items()
            for device in {where for _, where in yielder.usage}
            if protected.uses(device) and device not in yielder.rising and self._free_to_move(inode, yielder)
        ]
        for traffic, inode, device in sorted(options, reverse=True):
            if traffic < FLOOR_BYTES:
                break
            yielder, decision = self._moves(inode).held_up(state.yielders[inode], device, strain)
            if decision is not None:
                return replace(state, yielders={**state.yielders, inode: yielder}), decision
        return state, None

    def _free_to_move(self, inode: int, yielder: Yielder) -> bool:
        return not self.give[inode][0].silenced and self.now >= yielder.avoid_until_usec

    def _give_back(self, state: State, strains: Mapping[int, Strain]) -> tuple[State, Decision | None]:
        """Give one container one step back, the one that has waited longest for it."""
        strain = max(strains.values(), key=lambda each: each.ratio)
        holders = [
            (y.changed_usec, i) for i, y in state.yielders.items() if y.written and self._eased(y, state, strains)
        ]
        for _, inode in sorted(holders):
            yielder, decision = self._moves(inode).returned(state.yielders[inode], strain)
            if decision is not None:
                yielders = {**state.yielders, inode: yielder}
                return replace(state, yielders=yielders, acted_usec=self.now), decision
        return state, None

    def _moves(self, inode: int) -> Moves:
        member, settings = self.give[inode]
        return Moves(
            member=member,
            least=settings.min,
            most=settings.max,
            calm_usec=settings.calm,
            lease_usec=settings.lease,
            now_usec=self.now,
        )

    def _eased(self, yielder: Yielder, state: State, strains: Mapping[int, Strain]) -> bool:
        """Return whether nobody who shares a capped device with it is near what is allowed."""
        devices = {device for _, device in yielder.caps} or {device for _, device in yielder.usage}
        near = (i for i, strain in strains.items() if not strain.easy)
        return not any(state.protected[i].uses(device) for i in near for device in devices)

    def renewed(self, state: State, moved: Decision | None) -> tuple[State, tuple[Decision, ...]]:
        """Return the move and what has to be asked for again."""
        decisions = [] if moved is None else [moved]
        yielders = dict(state.yielders)
        for inode, yielder in state.yielders.items():
            if moved is None or moved.inode != inode:
                yielders[inode], again = self._moves(inode).renewed(yielder)
                decisions += [again] if again is not None else []
        return replace(state, yielders=yielders), tuple(decisions)

    def all_back(self, state: State) -> tuple[State, tuple[Decision, ...]]:
        """Give everything back: nobody is protected any more."""
        why = "nobody is protected any more"
        both = {inode: self._moves(inode).all_back(yielder, why) for inode, yielder in state.yielders.items()}
        yielders = {inode: yielder for inode, (yielder, _) in both.items()}
        return replace(state, yielders=yielders), tuple(d for _, d in both.values() if d is not None)
