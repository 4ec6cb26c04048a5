"""memory-probe: finds what memory a container really needs, by taking a little at a time and watching.

Senpai's and TMO's conditions (Meta, ASPLOS'22): reclaim only while pressure is below a target. Katalyst's accuracy:
what is taken and comes back was needed. As 1 % every 6 s is too slow to find a working set within 5 minutes, the step
grows while it is quiet; as one long step would cost what the search gains, it is taken in small parts, judged at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from governor.controllers._memory_limit import MIB, Hold, Limiter
from governor.controllers._memory_sense import Sense, sense_of
from governor.controllers._written import crossed, number
from governor.model.control import Decision, Reclaim, Solo, Takes, key
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from governor.model.control import Member

PAGE_BYTES: Final = 4096
RECLAIM_MARGIN_BYTES: Final = 16 * MIB
"""Left above what cannot be reclaimed: the rest is judged by what comes back, not by a guess."""

FIRST_SHARE: Final = 0.002
"""Of memory.current: what the first reclaim asks for."""
LAST_SHARE: Final = 0.0005
"""No step gets smaller than this."""
GROWTH: Final = 1.3
"""After a quiet step the next is this much larger."""
EFFORT: Final = 0.5
"""Below this steal/scan the kernel is searching for cold pages: the step grows no more (Katalyst: 0.6)."""
VAIN: Final = 0.1
"""Below this share taken of what was asked for there is nothing left to take."""
FASTER: Final = 0.5
SLOWER: Final = 0.75
"""Below FASTER of the target the step grows, above SLOWER it shrinks: the target itself is not reached (TMO)."""
SLOW_DOWN: Final = 0.8
BACK_OFF: Final = 0.25
"""The step's factors: near the target, and after harm."""
MOST_BYTES: Final = 256 * MIB
LEAST_BYTES: Final = 128 * 1024
"""What reclaim takes in one go anyway (SWAP_CLUSTER_MAX)."""

WINDOW_SEC: Final = 20.0
"""Time constant over which what came back is set against what was taken."""
NOISE_PAGES: Final = 256.0
"""Fewer pages than these coming back cost nothing: 256 in 20 s are 0.03 % of the time; hot ones come back once."""
FAULT_SEC: Final = 20e-6
"""What a refault costs where PSI does not see it: decompressing a page from zram."""
FAULT_BUDGET: Final = 10.0
"""Unseen refaults may cost this many times the target."""

NEW: Final = Hold()

FIRST_PAUSE_SEC: Final = 10.0
LAST_PAUSE_SEC: Final = 160.0
FORGIVEN_AFTER: Final = 5
"""After so many quiet steps the next back-off starts with the first pause again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of one container. Shares are of memory.current, pages are decayed sums over WINDOW_SEC."""

    share: float = FIRST_SHARE
    wait_sec: float = 0.0
    pause_sec: float = FIRST_PAUSE_SEC
    quiet: int = 0
    asked_pages: float = 0.0
    """What the last reclaim asked for; 0 where its outcome has been judged."""
    stolen_pages: float = 0.0
    """What was taken since the last reclaim."""
    scanned_pages: float = 0.0
    before_bytes: float = 0.0
    """memory.current when it was asked."""
    late: bool = False
    """The counters showed nothing yet at the first look."""
    taken: float = 0.0
    back: float = 0.0
    hold: Hold = NEW


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProbe(Solo):
    """Takes cold memory from one container in small steps, and on request keeps MemoryHigh at what it needs."""

    name: ClassVar[str] = "memory-probe"
    summary: ClassVar[str] = "Gives back memory that the container does not use"
    properties: ClassVar[tuple[str, ...]] = ("MemoryHigh",)
    signals: ClassVar[tuple[str, ...]] = (
        "memory.current",
        "memory.unreclaimable",
        "memory.scan",
        "memory.steal",
        "memory.activate",
        "memory.refault_anon",
        "memory.refault_file",
        "memory.high_events",
        "pressure.memory.some",
        "pressure.memory.some_avg10",
        "pressure.memory.some_avg60",
        "pressure.io.some_avg10",
        "pressure.io.some_avg60",
    )

    target: float = key(
        0.001, Takes.RATIO, "Takes only while pressure of memory and IO is below this", '"0.1%"', low=0.0001, high=0.2
    )
    refaults: float = key(
        0.1, Takes.RATIO, "Backs off where more than this of what was taken comes back", '"10%"', low=0.001, high=0.5
    )
    share: float = key(
        0.015, Takes.RATIO, "The most that is taken at once, of the memory in use", '"1.5%"', low=0.001, high=0.1
    )
    every: int = key(
        2 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "Time from one reclaim to the next while it is quiet",
        '"2s"',
        low=USEC_PER_SEC,
        high=600 * USEC_PER_SEC,
    )
    limit: bool = key(False, Takes.BOOLEAN, "Also keeps MemoryHigh at what is needed, with headroom", "true")
    headroom: float = key(0.1, Takes.RATIO, "Room in MemoryHigh above what is needed", '"10%"', low=0.02, high=2.0)

    def complaint(self) -> str:
        """Return what is wrong with the combination of keys; "" where nothing is."""
        return crossed(self.min, self.max)

    def start(self) -> State:
        """Return the state of a container that nothing is known of."""
        return State()

    def step(self, state: State, member: Member, dt_sec: float) -> tuple[State, Decision | None]:
        """Return the next state and a reclaim, a limit, advice, or nothing: what is unknown is left alone."""
        if member.silenced:
            return replace(state, hold=state.hold.released(), asked_pages=0.0), None
        sense = sense_of(member)
        if sense is None:
            return state, None
        state = _observed(state, sense, dt_sec)
        harm = self._harm(state, sense)
        if self.limit:
            hold, decision = self._limiter.step(state.hold, member, sense, quiet=not harm)
            state = replace(state, hold=hold)
            if decision is not None:
                return state, decision
        return self._search(state, member, sense, harm)

    def dump(self, state: State) -> dict[str, int]:
        """Return what outlives the daemon: the need that was found, in bytes."""
        return {"need_bytes": state.hold.need_bytes}

    def load(self, dumped: Any) -> State:
        """Return the state that dump() told of. Raises ValueError where `dumped` is not of that form."""
        need = dumped.get("need_bytes") if isinstance(dumped, dict) else None
        if not isinstance(need, int) or isinstance(need, bool) or need < 0:
            raise ValueError("memory-probe: need_bytes is not a size in bytes")
        return State(hold=Hold(need_bytes=need))

    @property
    def _limiter(self) -> Limiter:
        return Limiter(headroom=self.headroom, target=self.target, lease=self.lease, least=self.min, most=self.max)

    def _harm(self, state: State, sense: Sense) -> str:
        """Return in words why nothing may be taken now; "" where it is quiet."""
        if sense.pressure >= self.target:
            return f"pressure {sense.pressure:.2%} is not below {self.target:.2%}"
        if state.back >= NOISE_PAGES and state.back > self.refaults * state.taken:
            return f"{state.back:.0f} of {state.taken:.0f} pages taken lately came back (allowed: {self.refaults:.1%})"
        cost, budget = sense.back * FAULT_SEC, self.target * FAULT_BUDGET
        if cost >= budget:
            return f"{sense.back:.0f} pages a second come back, about {cost:.1%} of its time (allowed: {budget:.1%})"
        return ""

    def _search(self, state: State, member: Member, sense: Sense, harm: str) -> tuple[State, Decision | None]:
        """Back off from harm, wait, or take the next part."""
        if harm:
            return self._backed_off(state, member, sense, harm) if state.asked_pages else (state, None)
        if state.wait_sec > 0:
            return state, None
        stolen = _stolen_pages(state, sense)
        if state.asked_pages and stolen < VAIN * state.asked_pages and not state.late:
            return replace(state, late=True, wait_sec=self.every / USEC_PER_SEC), None
        if state.asked_pages and not state.scanned_pages and stolen < VAIN * state.asked_pages:
            return self._left_alone(state), None
        if state.asked_pages and stolen < VAIN * state.asked_pages:
            words = f"{state.stolen_pages:.0f} of {state.asked_pages:.0f} pages asked for could be taken"
            return self._backed_off(state, member, sense, words)
        return self._taken(self._judged(state, sense), member, sense)

    def _backed_off(self, state: State, member: Member, sense: Sense, why: str) -> tuple[State, Decision | None]:
        """Leave it in peace for a pause that doubles; what it has now is what it needs."""
        state = replace(
            state,
            share=max(LAST_SHARE, state.share * BACK_OFF),
            wait_sec=state.pause_sec,
            pause_sec=min(2 * state.pause_sec, LAST_PAUSE_SEC),
            quiet=0,
            asked_pages=0.0,
            taken=0.0,
            back=0.0,
            hold=replace(state.hold, need_bytes=sense.current_bytes),
        )
        want = self._limiter.wanted(sense.current_bytes, sense)
        need, pause = f"{sense.current_bytes / MIB:.0f} MiB", f"{state.wait_sec:.0f} s"
        reason = f"{member.name}: needs about {need}: {why}; nothing is taken for {pause}"
        return state, Decision(inode=member.inode, reason=reason, recommend={"MemoryHigh": want})

    @staticmethod
    def _left_alone(state: State) -> State:
        """Return it waiting: nothing was looked at, so the reclaim was not done (observed only), and tells no need."""
        pause = min(2 * state.pause_sec, LAST_PAUSE_SEC)
        return replace(state, wait_sec=state.pause_sec, pause_sec=pause, asked_pages=0.0)

    def _judged(self, state: State, sense: Sense) -> State:
        """Return the state with the next step's size, by what became of the last."""
        if not state.asked_pages:
            return state
        ratio = sense.pressure_now / self.target
        if ratio > SLOWER:
            return replace(state, share=max(LAST_SHARE, state.share * SLOW_DOWN))
        quiet = state.quiet + 1
        pause = FIRST_PAUSE_SEC if quiet >= FORGIVEN_AFTER else state.pause_sec
        accurate = state.back < NOISE_PAGES or state.back < self.refaults / 4 * state.taken
        grows = accurate and ratio < FASTER and state.stolen_pages >= EFFORT * state.scanned_pages
        share = min(state.share * GROWTH, self.share) if grows else state.share
        return replace(state, share=share, quiet=quiet, pause_sec=pause)

    def _taken(self, state: State, member: Member, sense: Sense) -> tuple[State, Decision | None]:
        """Ask for the next part, if there is anything above the floor."""
        floor = max(
            sense.unreclaimable_bytes + RECLAIM_MARGIN_BYTES, sense.protected_bytes, number(self.min, "MemoryHigh") or 0
        )
        size = min(int(sense.current_bytes * state.share), sense.current_bytes - floor, MOST_BYTES)
        if size < LEAST_BYTES:
            return replace(state, wait_sec=FIRST_PAUSE_SEC, asked_pages=0.0), None
        state = replace(
            state,
            wait_sec=self.every / USEC_PER_SEC,
            asked_pages=size / PAGE_BYTES,
            before_bytes=sense.current_bytes,
            late=False,
            stolen_pages=0.0,
            scanned_pages=0.0,
        )
        reason = (
            f"{member.name}: takes {size / MIB:.1f} of {sense.current_bytes / MIB:.0f} MiB: pressure "
            f"{sense.pressure:.2%} < {self.target:.2%}, {state.back:.0f} of {state.taken:.0f} pages came back"
        )
        return state, Decision(inode=member.inode, reason=reason, act=Reclaim(size_bytes=size))


def _stolen_pages(state: State, sense: Sense) -> float:
    """Return what the last reclaim took, by the counters or by what memory.current has lost, whichever is more.

    The counters of memory.stat may be 2 s old where little has changed (mm/memcontrol.c, memcg_rstat_needs_flush), so
    that a reclaim which shows in neither is looked at once more before it is called vain.
    """
    return max(state.stolen_pages, (state.before_bytes - sense.current_bytes) / PAGE_BYTES)


def _observed(state: State, sense: Sense, dt_sec: float) -> State:
    """Return the state with this tick's pages added. Until there is a limit, the need follows usage up in a pause."""
    fade = math.exp(-dt_sec / WINDOW_SEC)
    wait = state.wait_sec - dt_sec
    hold = state.hold
    if not state.asked_pages:
        fade = 0.0
        if hold.need_bytes and hold.written is None:
            hold = replace(hold, need_bytes=max(hold.need_bytes, sense.current_bytes))
    return replace(
        state,
        wait_sec=wait if wait > dt_sec / 2 else 0.0,
        stolen_pages=state.stolen_pages + sense.steal * dt_sec,
        scanned_pages=state.scanned_pages + sense.scan * dt_sec,
        taken=state.taken * fade + sense.steal * dt_sec,
        back=state.back * fade + sense.back * dt_sec if state.asked_pages else 0.0,
        hold=hold,
    )
