"""interference: finds which container keeps a victim from its CPU, and caps that one for a while.

CPI² (Google, EuroSys'13): a victim is abnormal by its own history; the suspect whose usage goes with that is guilty.
Where none is, nothing is done: capping whoever is biggest, as others do, punishes the innocent and helps nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from governor.controllers import _cpi
from governor.controllers._cpi import Bin, Spec, Sums
from governor.controllers._written import SETTLE_USEC, Written, crossed, number, within
from governor.model.control import Decision, Expect, Joint, Takes, key
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Member, Scene
    from governor.model.signal import Sample

QUOTA: Final = "CPUQuotaPerSecUSec"
GAIN: Final = 0.1
"""The victim's signal must fall by a tenth, else the cap is undone."""
AFTER_PERIODS: Final = 3
"""After how many of the victim's samples that is judged; no other suspect is capped before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """What is known of one victim. A change of signal starts it anew: specs of different signals do not compare."""

    signal: str = ""
    spec: Spec = field(default_factory=Spec)
    sums: Sums = field(default_factory=Sums)
    bins: tuple[Bin, ...] = ()
    fresh: bool = False
    """Whether a sample was completed in this tick: only then it is judged."""
    stubborn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What a suspect was capped to, and until when."""

    written: Written
    until_usec: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of all containers that opted in."""

    victims: Mapping[int, Victim] = field(default_factory=dict)
    caps: Mapping[int, Cap] = field(default_factory=dict)
    theirs: Mapping[int, int] = field(default_factory=dict)
    """Suspects whose quota somebody else moved, and until when they are left alone."""
    rest_until_usec: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guilt:
    """A suspect that goes with a victim's trouble."""

    correlation: float
    inode: int
    cores: float
    """Its mean usage in the victim's last sample."""
    cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference(Joint):
    """Caps the suspect whose CPU usage goes with a victim's abnormal samples."""

    name: ClassVar[str] = "interference"
    summary: ClassVar[str] = "Finds and caps whoever keeps a container from its CPU"
    properties: ClassVar[tuple[str, ...]] = (QUOTA,)
    signals: ClassVar[tuple[str, ...]] = (*_cpi.SIGNALS, "cpu.usage")

    role: str = key(
        "victim",
        Takes.CHOICE,
        "Whether it is protected, or may be capped for those that are",
        '"suspect"',
        choices=("victim", "suspect"),
    )
    threshold: float = key(
        0.35, Takes.RATIO, "Correlation above which a suspect is guilty", "0.35", low=0.05, high=0.95
    )
    period: int = key(
        10 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "Length of one sample of a victim; more than 60 are needed to know what is normal",
        '"10s"',
        low=USEC_PER_SEC,
        high=100 * USEC_PER_SEC,
    )
    busy: float = key(
        0.25,
        Takes.RATIO,
        "Samples in which a victim used fewer CPUs than this are discarded",
        "0.25",
        low=0.0,
        high=64.0,
    )
    cap: float = key(0.1, Takes.RATIO, "CPUs that a guilty suspect is capped to", '"10%"', low=0.05, high=64.0)
    hold: int = key(
        300 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "How long it is capped, before it is looked at anew",
        '"5min"',
        low=10 * USEC_PER_SEC,
        high=3600 * USEC_PER_SEC,
    )

    def complaint(self) -> str:
        """Return what is wrong with the combination of keys; "" where nothing is."""
        if self.role == "victim" and (self.min or self.max):
            return 'min and max bound what a suspect is capped to: they say nothing with role = "victim"'
        return crossed(self.min, self.max)

    @classmethod
    def start_all(cls) -> State:
        """Return the state before the first step."""
        return State()

    @classmethod
    def step_all(cls, state: State, scene: Scene) -> tuple[State, tuple[Decision, ...]]:
        """Return the next state and at most one cap. Caps are not renewed: each ends, and is found anew if need be."""
        state = _observed(_owned(state, scene), scene)
        for inode, (member, settings) in scene.members.items():
            victim = state.victims.get(inode)
            if victim is None or not isinstance(settings, Interference) or not victim.fresh:
                continue
            state, decision = _judged(state, scene, member, settings, victim)
            if decision is not None:
                return state, (decision,)
        return state, ()


def _roles(scene: Scene, role: str) -> dict[int, tuple[Member, Interference]]:
    return {i: (m, s) for i, (m, s) in scene.members.items() if isinstance(s, Interference) and s.role == role}


def _owned(state: State, scene: Scene) -> State:
    """Forget caps that ended, were undone or belong to somebody else now."""
    now, suspects = scene.now_usec, _roles(scene, "suspect")
    caps, theirs = ({}, {inode: until for inode, until in state.theirs.items() if until > now and inode in suspects})
    for inode, cap in state.caps.items():
        if inode not in suspects or suspects[inode][0].silenced or now >= cap.until_usec:
            continue
        written = cap.written.looked(suspects[inode][0].current.get(QUOTA))
        if written.foreign(suspects[inode][0].current.get(QUOTA), now):
            theirs[inode] = now + suspects[inode][1].hold
        elif written.seen or now - written.since_usec < SETTLE_USEC:
            caps[inode] = replace(cap, written=written)
    return replace(state, caps=caps, theirs=theirs)


def _observed(state: State, scene: Scene) -> State:
    """Return the state with this tick added to every victim; those that are gone are dropped."""
    usages = {i: member.sample.get("cpu.usage") for i, (member, _) in _roles(scene, "suspect").items()}
    busy = {inode: cores for inode, cores in usages.items() if cores is not None}
    victims = {
        inode: _victim(state.victims.get(inode, Victim()), member.sample, settings, busy, scene)
        for inode, (member, settings) in _roles(scene, "victim").items()
    }
    return replace(state, victims=victims)


def _victim(before: Victim, sample: Sample, settings: Interference, busy: Mapping[int, float], scene: Scene) -> Victim:
    """Return a victim with one more tick, and its sample where a period is over. An absent signal holds."""
    before = replace(before, fresh=False)
    signal = next((name for name in _cpi.SIGNALS if sample.get(name) is not None), "")
    value, usage = sample.get(signal), sample.get("cpu.usage")
    if value is None or usage is None:
        return before
    if signal != before.signal:
        before = Victim(signal=signal)
    sums = before.sums.add(value, usage, busy, scene.dt_sec)
    if sums.seconds * USEC_PER_SEC < settings.period:
        return replace(before, sums=sums)
    if sums.usage / sums.seconds < settings.busy:
        return replace(before, sums=Sums())
    return _sampled(replace(before, sums=Sums(), fresh=True), sums.bin(scene.now_usec), scene.now_usec)


def _sampled(before: Victim, sample: Bin, now_usec: int) -> Victim:
    """Return a victim with one more sample; what stays abnormal without a culprit is learnt as normal."""
    bad = before.spec.known() and sample.value > before.spec.threshold(before.signal)
    stubborn = before.stubborn + 1 if bad else 0
    spec = Spec() if stubborn >= _cpi.STUBBORN else before.spec
    return replace(
        before,
        spec=spec.learnt(sample.value, before.signal),
        bins=_cpi.kept((*before.bins, sample), now_usec),
        stubborn=stubborn if spec is before.spec else 0,
    )


def _judged(
    state: State, scene: Scene, member: Member, settings: Interference, victim: Victim
) -> tuple[State, Decision | None]:
    """Cap the guiltiest suspect of a victim that has been abnormal three times; nobody where none is guilty."""
    now, limit = scene.now_usec, victim.spec.threshold(victim.signal)
    times = _cpi.abnormal(victim.bins, limit, now)
    if not victim.spec.known() or times < _cpi.ABNORMAL or now < state.rest_until_usec:
        return state, None
    guilty = max(
        _guilty(state, scene, victim, settings.threshold), key=lambda g: (g.correlation, g.cores), default=None
    )
    if guilty is None:
        return state, None
    suspect, table = _roles(scene, "suspect")[guilty.inode]
    after = AFTER_PERIODS * settings.period
    written = Written(value=guilty.cap, since_usec=now, asked_usec=now, before=suspect.current.get(QUOTA))
    caps = {**state.caps, guilty.inode: Cap(written=written, until_usec=now + table.hold)}
    decision = Decision(
        inode=guilty.inode,
        reason=f"{_symptom(member, victim, limit, times)}; {_charge(suspect, guilty, settings.threshold, table.hold)}",
        limits={QUOTA: guilty.cap},
        expect=(Expect(inode=member.inode, signal=victim.signal, gain=GAIN, good_enough=limit, after_usec=after),),
        hold_usec=table.hold,
    )
    return replace(state, caps=caps, rest_until_usec=now + after), decision


def _symptom(member: Member, victim: Victim, limit: float, times: int) -> str:
    spec, value = victim.spec, victim.bins[-1].value
    normal = f"mean {spec.mean:.4g}, sigma {spec.sigma:.4g}, {spec.count} samples"
    return f"{member.name}: {victim.signal} {value:.4g} above {limit:.4g} ({normal}) {times} times in 5 min"


def _charge(suspect: Member, guilty: Guilt, threshold: float, hold_usec: int) -> str:
    found = f"{suspect.name} used {guilty.cores:.2f} CPUs, correlation {guilty.correlation:.2f} > {threshold:.2f}"
    return f"{found}: capped to {guilty.cap / USEC_PER_SEC:.2f} CPUs for {hold_usec / USEC_PER_SEC:.0f} s"


def _guilty(state: State, scene: Scene, victim: Victim, threshold: float) -> list[Guilt]:
    """Return the suspects that correlate and that a cap would hold back."""
    found = []
    for inode, (member, settings) in _roles(scene, "suspect").items():
        quota, cores = number(member.current, QUOTA), victim.bins[-1].busy.get(inode)
        cap = within(round(settings.cap * USEC_PER_SEC), QUOTA, settings.min, settings.max)
        if member.silenced or inode in state.caps or inode in state.theirs or quota is None or cores is None:
            continue
        score = _cpi.correlation(victim.bins, inode, victim.spec.threshold(victim.signal))
        if score > threshold and cap < quota and cap < cores * USEC_PER_SEC:
            found.append(Guilt(correlation=score, inode=inode, cores=cores, cap=cap))
    return found
