"""cpu-throttle: Captain's rules one by one, and what comes of them on a simulated workload."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers.cpu_throttle import HISTORY, CpuThrottle, State, Window
from governor.model.values import INFINITY, USEC_PER_SEC
from tests.controllers.cpu_plant import QUOTA, CpuPlant, drive, member, percent

if TYPE_CHECKING:
    from governor.model.control import Decision, Member

THROTTLE = CpuThrottle(max={QUOTA: percent(200)})
FULL = State(usage=(0.3,) * HISTORY)
"""A history under an even load."""


def at(quota: int, ratio: float | None, usage: float = 0.3, now_sec: float = 1.0, **more: Any) -> Member:
    values = {"cpu.usage": usage} | ({} if ratio is None else {"cpu.throttled_ratio": ratio})
    defaults: dict[str, Any] = {"current": {QUOTA: quota}, "base": {QUOTA: INFINITY}}
    return member(values, round(now_sec * USEC_PER_SEC), **defaults | more)


def second(
    controller: CpuThrottle, state: State, quota: int, ratio: float | None, **more: Any
) -> tuple[State, Decision | None]:
    """Return what comes of one whole second of the same sample."""
    return controller.step(state, at(quota, ratio, **more), 1.0)


def wanted(decision: Decision | None) -> object:
    return None if decision is None else decision.limits[QUOTA]


def test_a_golden_trace() -> None:
    def load(period: int) -> float:
        return 0.5 if period < 200 else 0.9

    calm, known = "throttled in 0% of periods, target 5%", "deviation 0.00 x margin"
    assert drive(THROTTLE, CpuPlant(load), 400).reasons == [
        "0: no quota yet, starts from max 200%: quota none -> 200%",
        f"50: {calm}, highest usage 0.50 cores, {known} 2.8: quota 200% -> 100%",
        f"60: {calm}, highest usage 0.50 cores, {known} 2.7: quota 100% -> 53%",
        "210: throttled in 100% of periods, target 5%: quota 53% -> 99%",
        "220: throttled in 100% of periods, target 5%: quota 99% -> 184%",
        "230: throttled in 30% of periods, target 5%: quota 184% -> 200%",
        f"280: {calm}, highest usage 0.90 cores, {known} 4.0: quota 200% -> 100%",
    ]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.42, percent(64)), (1.0, percent(93)), (0.16, percent(51)), (0.15, None), (0.1, None)],
)
def test_above_three_times_the_target_the_quota_rises_by_the_excess(ratio: float, expected: int | None) -> None:
    assert wanted(second(THROTTLE, State(), percent(50), ratio)[1]) == expected


def test_the_reason_has_the_numbers() -> None:
    _, decision = second(THROTTLE, State(), percent(50), 0.42)
    assert decision is not None
    assert decision.reason == "throttled in 42% of periods, target 5%: quota 50% -> 64%"


def test_a_cut_goes_down_to_the_highest_usage_and_some_deviations() -> None:
    state = State(usage=(0.2, 0.4) * (HISTORY // 2), margin=1.05)
    # max 0.4 x 1.05 + margin (1.05 - target 0.05) x deviation 0.1, after this second's 0.3 took the oldest 0.2's place
    assert wanted(second(THROTTLE, state, percent(60), 0.0)[1]) == percent(52)


def test_a_cut_takes_no_more_than_its_step_and_none_of_less_than_a_tenth_is_made() -> None:
    assert wanted(second(THROTTLE, FULL, percent(200), 0.0)[1]) == percent(100)
    assert wanted(second(replace(THROTTLE, cut=0.2), FULL, percent(200), 0.0)[1]) == percent(160)
    assert wanted(second(THROTTLE, FULL, percent(35), 0.0)[1]) is None
    assert wanted(second(THROTTLE, FULL, percent(36), 0.0)[1]) == percent(32)


def test_it_cuts_only_by_a_full_history_and_where_most_periods_are_known() -> None:
    assert wanted(second(THROTTLE, State(), percent(200), 0.0)[1]) is None
    assert wanted(second(THROTTLE, FULL, percent(200), None)[1]) is None
    mostly = replace(FULL, window=Window(0.9, 0.4, 0.0))
    assert THROTTLE.step(mostly, at(percent(200), None), 0.1)[1] is None


def test_few_periods_that_are_all_throttled_are_enough_to_raise() -> None:
    sparse = replace(State(), window=Window(0.9, 0.2, 0.2))
    assert wanted(THROTTLE.step(sparse, at(percent(50), None), 0.1)[1]) == percent(53)


def test_a_cut_that_throttles_is_taken_back_within_the_second_and_as_much_again_given() -> None:
    state, decision = second(THROTTLE, FULL, percent(100), 0.0)
    assert wanted(decision) == percent(50)
    state, decision = THROTTLE.step(state, at(percent(50), 1.0, now_sec=1.1), 0.1)
    assert decision is None
    state, decision = THROTTLE.step(state, at(percent(50), 1.0, now_sec=1.2), 0.1)
    assert decision is not None
    assert decision.limits == {QUOTA: percent(150)}
    assert decision.reason == "throttled 0.2 s in the second after the cut from 100%: quota 50% -> 150%"
    assert state.cut_from == 0


def test_without_a_quota_and_max_it_starts_from_three_times_the_highest_usage() -> None:
    state, decision = CpuThrottle().step(State(usage=(0.3,) * (HISTORY - 2)), at(INFINITY, None), 0.1)
    assert decision is None
    _, decision = CpuThrottle().step(state, at(INFINITY, None, usage=0.7), 0.1)
    assert wanted(decision) == percent(210)


def test_a_static_quota_is_the_bound_where_there_is_no_max() -> None:
    base = {QUOTA: percent(60)}
    assert wanted(second(CpuThrottle(), State(), percent(50), 1.0, base=base)[1]) == percent(60)
    assert wanted(second(CpuThrottle(), State(), percent(60), 1.0, base=base)[1]) is None


def test_never_below_min_nor_five_percent_of_a_cpu() -> None:
    idle = State(usage=(0.0,) * HISTORY)
    assert wanted(second(THROTTLE, idle, percent(9), 0.0, usage=0.0)[1]) == percent(5)
    bounded = replace(THROTTLE, min={QUOTA: percent(80)})
    assert wanted(second(bounded, idle, percent(100), 0.0, usage=0.0)[1]) == percent(80)


def test_what_is_absent_changes_nothing() -> None:
    for seen in (member({}), member({"cpu.usage": 0.3}), at(percent(50), 1.0, current={})):
        assert THROTTLE.step(FULL, seen, 1.0) == (FULL, None)
    only_ratio = member({"cpu.throttled_ratio": 1.0}, current={QUOTA: percent(50)})
    assert THROTTLE.step(FULL, only_ratio, 1.0) == (FULL, None)


def test_silenced_it_decides_nothing() -> None:
    assert second(THROTTLE, FULL, percent(200), 0.0, silenced=True)[1] is None
    assert second(THROTTLE, FULL, percent(50), 1.0, silenced=True)[1] is None


def test_it_waits_for_its_own_write() -> None:
    state, _ = second(THROTTLE, State(), percent(50), 1.0)
    state, decision = second(THROTTLE, state, percent(50), 1.0, now_sec=2)
    assert decision is None
    state, decision = second(THROTTLE, state, percent(93), 1.0, now_sec=3)
    assert wanted(decision) == percent(173)


def test_somebody_elses_quota_is_left_alone_for_the_cooldown_and_then_the_new_base() -> None:
    state, _ = second(THROTTLE, State(), percent(50), 1.0)
    for now in range(2, 62):
        state, decision = second(THROTTLE, state, percent(30), 1.0, now_sec=now)
        assert decision is None
    state, decision = second(THROTTLE, state, percent(30), 1.0, now_sec=63)
    assert wanted(decision) == percent(56)


def test_a_write_that_never_shows_is_no_longer_waited_for() -> None:
    state, _ = second(THROTTLE, State(), percent(50), 1.0)
    state, _ = second(THROTTLE, state, percent(50), 1.0, now_sec=5)
    assert state.held is None
    assert state.rest_sec == 60


def test_a_lease_is_renewed_at_half_its_length_even_at_the_bound() -> None:
    hog = drive(THROTTLE, CpuPlant(lambda _: 9.0), 3200)
    assert [step for step, _ in hog.decisions] == [0, 1500, 3000]
    assert {wanted(decision) for _, decision in hog.decisions} == {percent(200)}


def test_a_cut_expects_no_more_than_the_alarm_and_a_raise_only_no_doubling() -> None:
    cut, raised = second(THROTTLE, FULL, percent(200), 0.0)[1], second(THROTTLE, FULL, percent(50), 1.0)[1]
    assert cut is not None
    assert raised is not None
    assert [(one.gain, round(one.good_enough, 3)) for one in cut.expect + raised.expect] == [(0.0, 0.15), (-1.0, 0.15)]
    assert {one.signal for one in cut.expect + raised.expect} <= set(THROTTLE.signals)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"min": {QUOTA: 3}, "max": {QUOTA: 2}}, "min.CPUQuota is above max.CPUQuota: no value is left between them"),
        ({"max": {"MemoryHigh": 3}}, "max.MemoryHigh: cpu-throttle does not move MemoryHigh"),
        ({"min": {QUOTA: 2}, "max": {QUOTA: 2}}, ""),
    ],
)
def test_bounds_that_cannot_be(table: dict[str, Any], complaint: str) -> None:
    assert CpuThrottle(**table).complaint() == complaint


loads = st.floats(0.0, 3.0)


@settings(max_examples=25)
@given(load=loads, low=st.integers(1, 120), span=st.integers(0, 200), delay=st.integers(1, 5))
def test_it_settles_within_its_bounds_under_an_even_load(load: float, low: int, span: int, delay: int) -> None:
    table = CpuThrottle(min={QUOTA: percent(low)}, max={QUOTA: percent(low + span)})
    run = drive(table, CpuPlant(lambda _: load), 700, delay=delay)
    settled = run.values[400:]
    assert all(percent(max(low, 5)) <= value <= percent(max(low + span, 5)) for value in run.values[10:])
    assert len(set(settled)) == 1
    assert settled[0] >= min(percent(load * 100), percent(low + span)) - 1
    assert all(value % percent(1) == 0 for value in settled)


@settings(max_examples=15)
@given(seed=st.integers(0, 999), lost=st.floats(0.0, 0.9))
def test_a_noisy_load_with_lost_samples_stays_within_bounds_and_steps(seed: int, lost: float) -> None:
    random, table = Random(seed), replace(THROTTLE, min={QUOTA: percent(20)})
    plant = CpuPlant(lambda period: Random(seed + period).uniform(0.1, 1.5))
    run = drive(table, plant, 500, drop=lambda _: random.random() < lost)
    finite = [value for value in run.values if value != INFINITY]
    assert all(percent(20) <= value <= percent(200) for value in finite)
    assert all(0.5 <= after / before <= 2 for before, after in pairwise(finite))


def test_throttling_under_a_noisy_load_ends_near_the_target() -> None:
    run = drive(THROTTLE, CpuPlant(lambda period: max(0.05, Random(period).gauss(0.6, 0.25))), 3000)
    known = [ratio for ratio in run.throttled[1000:] if ratio is not None]
    assert sum(known) / len(known) < 3 * THROTTLE.target
    assert max(run.values[1000:]) < percent(200)
