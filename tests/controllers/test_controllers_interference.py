"""interference: who goes with a victim's trouble is capped, nobody else ever."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers._cpi import LEAST_SAMPLES, Bin, Spec, abnormal, correlation
from governor.controllers.interference import QUOTA, Interference, State
from governor.model.control import Controller, Decision, Member, Scene
from governor.model.signal import Sample
from governor.model.values import INFINITY, USEC_PER_SEC

VICTIM, GUILTY, INNOCENT = 1, 2, 3
PROTECT = Interference()
SUSPECT = Interference(role="suspect")


@dataclass
class Host:
    """A host on which the guilty one's CPU usage is what the victim's signal follows."""

    signal: str = "perf.cpi"
    normal: float = 1.5
    hurt: float = 1.0
    seed: int = 1
    state: State = field(default_factory=Interference.start_all)
    quotas: dict[int, int] = field(default_factory=lambda: {GUILTY: INFINITY, INNOCENT: INFINITY})
    silenced: frozenset[int] = frozenset()
    now: int = USEC_PER_SEC
    suspect: Interference = SUSPECT
    victim_usage: float = 1.0
    decisions: list[Decision] = field(default_factory=list)
    lost: float = 0.0
    """The share of values that are absent."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def run(self, seconds: int, guilty: float = 0.2, innocent: float = 1.0) -> list[Decision]:
        found: list[Decision] = []
        for _ in range(seconds):
            self.now += USEC_PER_SEC
            self.state, decisions = Interference.step_all(self.state, self.scene(guilty, innocent))
            for decision in decisions:
                value = decision.limits[QUOTA]
                assert isinstance(value, int)
                self.quotas[decision.inode] = value
            found += decisions
        self.decisions += found
        return found

    def scene(self, guilty: float, innocent: float) -> Scene:
        used = min(guilty, self.quotas[GUILTY] / USEC_PER_SEC)
        value = self.normal * (1 + 0.05 * self.rng.gauss(0, 1)) + self.hurt * max(used - 0.3, 0)
        members: dict[int, tuple[Member, Controller]] = {
            VICTIM: (self.member(VICTIM, {self.signal: value, "cpu.usage": self.victim_usage}), PROTECT),
            GUILTY: (self.member(GUILTY, {"cpu.usage": used}), self.suspect),
            INNOCENT: (self.member(INNOCENT, {"cpu.usage": innocent}), self.suspect),
        }
        host = Sample(time_usec=self.now)
        return Scene(now_usec=self.now, dt_sec=1.0, host=host, members=members)

    def member(self, inode: int, values: dict[str, float]) -> Member:
        kept = {name: value for name, value in values.items() if self.rng.random() >= self.lost}
        return Member(
            inode=inode,
            name=f"box-{inode}",
            sample=Sample(time_usec=self.now, values=kept),
            current={QUOTA: self.quotas[inode]} if inode in self.quotas else {},
            silenced=inode in self.silenced,
        )


@cache
def _learnt(signal: str, normal: float, seed: int) -> State:
    host = Host(signal=signal, normal=normal, seed=seed)
    assert host.run(10 * (LEAST_SAMPLES + 1)) == []
    return host.state


def learnt(signal: str = "perf.cpi", normal: float = 1.5, seed: int = 1, **more: object) -> Host:
    """Return a host whose victim's normal is known: 61 samples of 10 s."""
    host = Host(signal=signal, normal=normal, seed=seed, **more)  # type: ignore[arg-type]
    host.state = _learnt(signal, normal, seed)
    host.now += 10 * (LEAST_SAMPLES + 1) * USEC_PER_SEC
    return host


# --- who is capped


def test_the_guilty_one_is_capped_and_the_innocent_never() -> None:
    host = learnt()
    host.run(120, guilty=3.0)
    assert [(d.inode, dict(d.limits), d.hold_usec) for d in host.decisions] == [
        (GUILTY, {QUOTA: 100_000}, 300 * USEC_PER_SEC)
    ]


def test_the_reason_tells_signal_and_correlation() -> None:
    host = learnt(seed=2)
    host.run(100, guilty=3.0)
    reason = host.decisions[0].reason
    assert reason.startswith("box-1: perf.cpi 4.")
    for part in ("mean 1.", "61 samples", "times in 5 min; box-2 used 3.00 CPUs, correlation 0.", "> 0.35"):
        assert part in reason
    assert reason.endswith("capped to 0.10 CPUs for 300 s")


def test_the_victims_signal_has_to_fall() -> None:
    host = learnt()
    host.run(100, guilty=3.0)
    (expect,) = host.decisions[0].expect
    assert (expect.inode, expect.signal, expect.gain, expect.after_usec) == (
        VICTIM,
        "perf.cpi",
        0.1,
        30 * USEC_PER_SEC,
    )


@pytest.mark.parametrize(
    ("signal", "normal", "hurt"),
    [("perf.cpi", 1.5, 1.0), ("runq.latency", 0.002, 0.01), ("pressure.cpu.some", 0.02, 0.2)],
)
def test_each_signal_serves(signal: str, normal: float, hurt: float) -> None:
    host = learnt(signal=signal, normal=normal, hurt=hurt)
    host.run(100, guilty=3.0)
    assert [d.inode for d in host.decisions] == [GUILTY]
    assert f"box-1: {signal} " in host.decisions[0].reason


def test_where_none_correlates_nothing_is_done() -> None:
    host = learnt()
    host.normal = 4.0  # the victim itself changed
    assert host.run(300) == []


def test_a_constant_neighbour_is_not_guilty_of_a_short_trouble() -> None:
    host = learnt()
    for _ in range(3):
        host.run(20, guilty=3.0, innocent=1.0)
        host.run(30, guilty=0.0, innocent=1.0)
    assert INNOCENT not in {d.inode for d in host.decisions}


def test_one_action_and_then_a_rest() -> None:
    host = learnt()
    host.suspect = replace(SUSPECT, min={QUOTA: 2_000_000})  # the cap does not help enough
    found = host.run(90, guilty=3.0, innocent=3.0)
    assert len(found) <= 2
    assert len({d.inode for d in found}) == len(found)


# --- who is not


def test_too_few_samples_judge_nobody() -> None:
    host = Host()
    host.run(10 * (LEAST_SAMPLES - 10))
    assert host.run(80, guilty=3.0) == []


def test_a_victim_that_hardly_runs_is_not_judged() -> None:
    host = learnt()
    host.victim_usage = 0.2
    assert host.run(200, guilty=3.0) == []


def test_a_silenced_suspect_is_not_chosen() -> None:
    host = learnt(silenced=frozenset({GUILTY}))
    assert host.run(200, guilty=3.0, innocent=0.05) == []


def test_a_suspect_whose_quota_is_unknown_or_tighter_is_not_chosen() -> None:
    host = learnt()
    del host.quotas[INNOCENT]
    host.quotas[GUILTY] = 90_000
    host.hurt, host.normal = 0.0, 5.0
    assert host.run(200, guilty=3.0, innocent=3.0) == []


def test_what_already_uses_less_than_the_cap_is_not_chosen() -> None:
    host = learnt()
    host.normal = 5.0
    assert host.run(200, guilty=0.05, innocent=0.05) == []


def test_the_policys_floor_and_ceiling_hold() -> None:
    host = learnt(suspect=replace(SUSPECT, min={QUOTA: 500_000}))
    host.run(100, guilty=3.0)
    assert host.decisions[0].limits == {QUOTA: 500_000}
    host = learnt(suspect=replace(SUSPECT, cap=1.0, max={QUOTA: 700_000}))
    host.run(100, guilty=3.0)
    assert host.decisions[0].limits == {QUOTA: 700_000}


def test_a_quota_that_somebody_else_moved_is_left_alone_for_a_while() -> None:
    host = learnt()
    host.run(100, guilty=3.0)
    host.quotas[GUILTY] = INFINITY
    assert host.run(250, guilty=3.0, innocent=0.05) == []
    assert GUILTY in host.state.theirs


def test_a_cap_ends_and_is_found_anew() -> None:
    host = learnt()
    host.run(100, guilty=3.0)
    host.run(200, guilty=3.0)
    assert len(host.decisions) == 1
    host.run(110, guilty=0.2)
    host.quotas[GUILTY] = INFINITY  # the lease ran out
    assert host.state.caps == {}
    host.run(150, guilty=3.0)
    assert [d.inode for d in host.decisions] == [GUILTY, GUILTY]


def test_what_stays_changed_without_a_culprit_is_the_new_normal() -> None:
    host = learnt()
    host.normal = 4.0
    host.run(10 * 61)
    spec = host.state.victims[VICTIM].spec
    assert spec.mean == pytest.approx(4.0, rel=0.05)


def test_those_that_are_gone_are_forgotten() -> None:
    host = learnt()
    state, decisions = Interference.step_all(host.state, replace(host.scene(0.2, 1.0), members={}))
    assert (state.victims, state.caps, decisions) == ({}, {}, ())


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), lost=st.floats(0.0, 0.3))
def test_noise_and_dropouts_alone_cap_nobody(seed: int, lost: float) -> None:
    host = Host(seed=seed, lost=lost)
    assert host.run(1000, guilty=0.2, innocent=1.0) == []


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 3), usage=st.floats(3.0, 8.0), floor=st.integers(50_000, 1_000_000))
def test_whoever_is_capped_is_the_guilty_one_and_above_the_floor(seed: int, usage: float, floor: int) -> None:
    host = learnt(seed=seed, suspect=replace(SUSPECT, min={QUOTA: floor}))
    host.run(120, guilty=usage)
    assert {d.inode for d in host.decisions} == {GUILTY}
    assert all(d.limits == {QUOTA: max(floor, 100_000)} for d in host.decisions)


# --- the arithmetic


def test_the_spec_leaves_outliers_out() -> None:
    spec = Spec()
    for step in range(100):
        spec = spec.learnt(1.0 + 0.1 * (-1) ** step, "perf.cpi")
    before = spec
    assert spec.threshold("perf.cpi") == pytest.approx(1.2, abs=0.01)
    assert spec.learnt(5.0, "perf.cpi") == before


def test_a_steady_signal_needs_a_tenth_more_and_pressure_at_least_a_twentieth() -> None:
    spec = Spec(count=100, mean=1.0)
    assert spec.threshold("perf.cpi") == pytest.approx(1.1)
    assert Spec(count=100).threshold("pressure.cpu.some") == 0.05


def test_the_papers_correlation() -> None:
    bins = (
        Bin(end_usec=0, value=4.0, busy={2: 3.0, 3: 1.0}),
        Bin(end_usec=1, value=1.0, busy={2: 1.0, 3: 3.0}),
    )
    assert correlation(bins, 2, 2.0) == pytest.approx((3 * (1 - 2 / 4) + 1 * (1 / 2 - 1)) / 4)
    assert correlation(bins, 3, 2.0) == pytest.approx((1 * (1 - 2 / 4) + 3 * (1 / 2 - 1)) / 4)
    assert correlation(bins, 4, 2.0) == 0.0


def test_abnormal_counts_five_minutes_and_only_while_it_lasts() -> None:
    times = (0, 200, 290, 301)
    bins = tuple(Bin(end_usec=t * USEC_PER_SEC, value=3.0, busy={}) for t in times)
    assert abnormal(bins, 2.0, 301 * USEC_PER_SEC) == 3
    assert abnormal((*bins, Bin(end_usec=302 * USEC_PER_SEC, value=1.0, busy={})), 2.0, 302 * USEC_PER_SEC) == 0


def test_complaints() -> None:
    assert PROTECT.complaint() == ""
    assert "role" in replace(PROTECT, min={QUOTA: 1}).complaint()
    assert replace(SUSPECT, min={QUOTA: 2}, max={QUOTA: 1}).complaint() == f"min is above max: {QUOTA}"
