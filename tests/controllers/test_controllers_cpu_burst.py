"""cpu-burst: when saved-up quota is allowed, how much, and when it is taken back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers.cpu_burst import CpuBurst, State
from governor.controllers.cpu_throttle import CpuThrottle
from governor.model.values import INFINITY, USEC_PER_SEC
from tests.controllers.cpu_plant import BURST, QUOTA, CpuPlant, drive, member, percent

if TYPE_CHECKING:
    from governor.model.control import Decision, Member

PERIOD = "CPUQuotaPeriodUSec"
MS = 1000
FULL = State(usage=(0.2,) * 10)


def peaks(period: int) -> float:
    """Want 80 ms in every tenth period, 20 ms in the others."""
    return 0.8 if period % 10 == 0 else 0.2


def plant(demand: Any = peaks, quota: float = 50) -> CpuPlant:
    return CpuPlant(demand, limits={QUOTA: percent(quota), BURST: 0})


def at(burst: int = 0, ratio: float = 0.1, *, now_sec: int = 1, quota: int = percent(50), **more: Any) -> Member:
    values = {"cpu.usage": 0.2, "cpu.throttled_ratio": ratio, "cpu.bursts": 0.0}
    fields: dict[str, Any] = {"current": {BURST: burst, QUOTA: quota}, "base": {BURST: 0}}
    return member(values | more.pop("values", {}), now_sec * USEC_PER_SEC, **fields | more)


def wanted(outcome: tuple[State, Decision | None]) -> object:
    return None if outcome[1] is None else outcome[1].limits[BURST]


def test_a_golden_trace() -> None:
    run = drive(CpuBurst(), plant(lambda period: peaks(period) if period < 300 else 0.2), 800, watch=BURST)
    assert [(step, decision.limits[BURST]) for step, decision in run.decisions] == [
        (9, 5 * MS), (10, 6 * MS), (11, 8 * MS), (12, 10 * MS), (13, 12 * MS), (14, 15 * MS),
        (15, 18 * MS), (16, 22 * MS), (17, 27 * MS), (18, 33 * MS), (19, 40 * MS),
        (89, 32 * MS), (149, 26 * MS), (209, 21 * MS), (269, 17 * MS), (329, 14 * MS),
        (389, 12 * MS), (449, 10 * MS), (509, 8 * MS), (569, 7 * MS), (629, 6 * MS),
        (689, 5 * MS), (749, None),
    ]  # fmt: skip
    assert run.reasons[1] == (
        "10: throttled in 10% of periods, target 2%, though it uses 0.26 cores of 0.50: burst 5 ms -> 6 ms"
    )
    assert run.reasons[-1] == "749: neither throttled nor bursting for 60 s: burst 5 ms -> 0 ms"
    assert set(run.throttled[20:30]) == {0.0}


def test_a_burst_that_is_used_stays_and_its_lease_is_renewed() -> None:
    run = drive(CpuBurst(), plant(), 500, watch=BURST)
    assert [step for step, _ in run.decisions][-4:] == [19, 169, 319, 469]
    assert set(run.values[25:]) == {40 * MS}


def test_near_the_quota_nothing_is_left_to_save() -> None:
    assert drive(CpuBurst(), plant(lambda _: 9.0), 60, watch=BURST).decisions == []
    assert wanted(CpuBurst().step(replace(FULL, usage=(0.46,) * 10), at(values={"cpu.usage": 0.46}), 1.0)) is None


def test_throttling_within_the_target_is_left_alone() -> None:
    assert wanted(CpuBurst(target=0.1).step(FULL, at(ratio=0.1), 1.0)) is None
    assert wanted(CpuBurst(target=0.1).step(FULL, at(ratio=0.11), 1.0)) == 5 * MS


@pytest.mark.parametrize(
    ("current", "table", "expected"),
    [
        ({}, {}, 50 * MS),
        ({PERIOD: 20_000}, {}, 10 * MS),
        ({PERIOD: INFINITY}, {}, 50 * MS),
        ({}, {"max": {BURST: 47 * MS}}, 47 * MS),
        ({}, {"max": {BURST: 90 * MS}}, 50 * MS),
    ],
)
def test_never_above_max_nor_the_quota_of_a_period(
    current: dict[str, int], table: dict[str, Any], expected: int
) -> None:
    burst = expected - 1 * MS
    seen = at(current={BURST: burst, QUOTA: percent(50)} | current)
    assert wanted(CpuBurst(**table).step(FULL, seen, 1.0)) == expected


def test_a_quota_that_shrinks_takes_the_burst_with_it_and_is_not_taken_for_a_foreign_write() -> None:
    state, decision = CpuBurst().step(FULL, at(40 * MS), 1.0)
    assert wanted((state, decision)) == 48 * MS
    state, _ = CpuBurst().step(state, at(48 * MS, 0.0, now_sec=2), 1.0)
    for now, burst in enumerate((48 * MS, 30 * MS), start=3):
        state, decision = CpuBurst().step(state, at(burst, 0.0, now_sec=now, quota=percent(30)), 1.0)
        assert decision is None
        assert state.held is not None
        assert state.held.value == 30 * MS


def test_taken_back_no_further_than_min_or_its_static_value() -> None:
    quiet = replace(FULL, quiet_sec=60.0)
    assert wanted(CpuBurst(min={BURST: 18 * MS}).step(quiet, at(20 * MS, 0.0), 1.0)) == 18 * MS
    assert wanted(CpuBurst(min={BURST: 18 * MS}).step(quiet, at(18 * MS, 0.0), 1.0)) is None
    assert wanted(CpuBurst().step(quiet, at(30 * MS, 0.0, base={BURST: 20 * MS}), 1.0)) == 24 * MS
    # What it has without this controller is given back, not set: None.
    given_back = CpuBurst().step(quiet, at(22 * MS, 0.0, base={BURST: 20 * MS}), 1.0)[1]
    assert given_back is not None
    assert given_back.limits == {BURST: None}


def test_what_is_absent_changes_nothing_and_uncounted_bursts_are_not_quiet() -> None:
    for current in ({BURST: 0}, {QUOTA: percent(50)}, {BURST: 0, QUOTA: INFINITY}):
        assert CpuBurst().step(FULL, at(current=current), 1.0) == (FULL, None)
    no_period = member({"cpu.usage": 0.0}, current={BURST: 0, QUOTA: percent(50)})
    assert CpuBurst().step(FULL, no_period, 1.0) == (FULL, None)
    values = {"cpu.usage": 0.2, "cpu.throttled_ratio": 0.0}
    unknown = member(values, current={BURST: 9 * MS, QUOTA: percent(50)}, base={BURST: 0})
    assert CpuBurst().step(replace(FULL, quiet_sec=59.0), unknown, 1.0)[0].quiet_sec == 0


def test_silenced_it_decides_nothing() -> None:
    assert CpuBurst().step(FULL, at(silenced=True), 1.0) == (State(), None)


def test_somebody_elses_burst_is_left_alone_for_the_cooldown() -> None:
    state, _ = CpuBurst().step(FULL, at(), 1.0)
    waiting, decision = CpuBurst().step(state, at(0, now_sec=2), 1.0)
    assert decision is None
    assert waiting.held == state.held
    state, _ = CpuBurst().step(state, at(25 * MS, now_sec=2), 1.0)
    assert state.held is None
    outcomes = [CpuBurst().step(replace(state, rest_sec=rest, usage=FULL.usage), at(25 * MS), 1.0) for rest in (60, 1)]
    assert [wanted(outcome) for outcome in outcomes] == [None, 30 * MS]


def test_a_burst_expects_less_throttling_and_no_harm_to_the_host() -> None:
    _, decision = CpuBurst().step(FULL, at(), 1.0)
    assert decision is not None
    assert [(one.inode, one.signal) for one in decision.expect] == [
        (7, "cpu.throttled_ratio"), (0, "host.pressure.cpu.some"),
    ]  # fmt: skip
    assert {one.signal for one in decision.expect} <= set(CpuBurst.signals)


def test_it_moves_the_burst_only() -> None:
    assert CpuBurst(max={QUOTA: 1}).complaint() == "max.CPUQuota: cpu-burst does not move CPUQuota"
    assert CpuBurst(min={BURST: 2}, max={BURST: 1}).complaint().startswith("min.CPUBurst is above max.CPUBurst")
    assert CpuBurst(max={BURST: 50 * MS}).complaint() == ""
    assert not CpuThrottle(max={QUOTA: percent(50)}).complaint()


@settings(max_examples=40)
@given(
    peak=st.floats(0.0, 3.0),
    calm=st.floats(0.0, 1.0),
    every=st.integers(1, 20),
    quota=st.integers(5, 200),
    lost=st.floats(0.0, 0.8),
)
def test_it_settles_within_its_bounds(peak: float, calm: float, every: int, quota: int, lost: float) -> None:
    random = Random(7)
    load = plant(lambda period: peak if period % every == 0 else calm, quota)
    run = drive(CpuBurst(), load, 400, watch=BURST, drop=lambda _: random.random() < lost)
    assert all(0 <= value <= percent(quota) // 10 for value in run.values)
    assert all(after <= before * 1.2 + percent(quota) // 100 + MS for before, after in pairwise(run.values))
    # At the end it has found its level, or takes steps back: no step up follows a step down.
    ends = run.values[-60:]
    assert ends in (sorted(ends), sorted(ends, reverse=True))
