"""memory-probe: finds the working set on the plant, quickly and without harm, and holds where it does not know."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers._memory_limit import MARGIN_BYTES, Hold
from governor.controllers.memory_probe import MemoryProbe, State
from governor.model.control import Decision, Member, Reclaim
from governor.model.signal import Sample
from governor.model.values import INFINITY, USEC_PER_SEC
from tests.controllers.memory_plant import MIB, PAGE, MemoryPlant, Pages

if TYPE_CHECKING:
    from collections.abc import Callable

FIVE_MINUTES = 300
ZRAM = {"fault_usec": 10.0, "blind": True}
SSD = {"fault_usec": 100.0}


def run(
    plant: MemoryPlant,
    probe: MemoryProbe,
    seconds: int = FIVE_MINUTES,
    change: Callable[[int, Member], Member] = lambda _, member: member,
    state: State | None = None,
) -> list[tuple[int, Decision]]:
    """Return what was decided, with the second; the plant does what it is told."""
    plant.run(1.0)
    state = probe.start() if state is None else state
    found = []
    for second in range(seconds):
        state, decision = probe.step(state, change(second, plant.member(1.0)), 1.0)
        if decision is not None:
            found.append((second, decision))
            apply(plant, decision)
        plant.run(1.0)
    return found


def apply(plant: MemoryPlant, decision: Decision) -> None:
    if isinstance(decision.act, Reclaim):
        plant.reclaim(decision.act.size_bytes)
    if "MemoryHigh" in decision.limits:
        value = decision.limits["MemoryHigh"]
        plant.high_bytes = INFINITY if value is None else value if isinstance(value, int) else 0


def highs(found: list[tuple[int, Decision]]) -> list[int]:
    values = [d.limits["MemoryHigh"] for _, d in found if "MemoryHigh" in d.limits]
    return [value for value in values if isinstance(value, int)]


def quiet(**values: float) -> Member:
    """Return a container in peace: 1000 MiB, no pressure, no reclaim."""
    names = ("scan", "steal", "activate", "refault_anon", "refault_file", "high_events")
    base = {f"memory.{name}": 0.0 for name in names}
    base |= {f"pressure.{what}.some_avg{span}": 0.0 for what in ("memory", "io") for span in (10, 60)}
    base |= {"memory.current": 1000.0 * MIB, "memory.unreclaimable": 10.0 * MIB, "pressure.memory.some": 0.0}
    sample = Sample(time_usec=USEC_PER_SEC, values=base | values)
    return Member(inode=7, name="web-1", sample=sample, current={"MemoryHigh": INFINITY})


def later(member: Member, seconds: float, **values: float) -> Member:
    more = {name.replace("__", "."): value for name, value in values.items()}
    time = member.sample.time_usec + round(seconds * USEC_PER_SEC)
    return replace(member, sample=Sample(time_usec=time, values={**member.sample.values, **more}))


# --- the goal: 60 % of the cold part within 5 minutes, at most 5 % slower


@pytest.mark.parametrize("cold", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("size", [100 * MIB, 1000 * MIB, 4000 * MIB])
@pytest.mark.parametrize("anon", [True, False])
def test_most_of_the_cold_part_is_given_back_where_pressure_shows_nothing(cold: float, size: int, anon: bool) -> None:
    plant = MemoryPlant.split(size, cold, anon=anon, **ZRAM)
    run(plant, MemoryProbe())
    assert plant.given_back() >= 0.85
    assert plant.slow_down <= 0.005


@pytest.mark.parametrize("cold", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("size", [100 * MIB, 1000 * MIB])
def test_most_of_the_cold_part_is_given_back_with_swap_on_an_ssd(cold: float, size: int) -> None:
    plant = MemoryPlant.split(size, cold, **SSD)
    run(plant, MemoryProbe())
    assert plant.given_back() >= 0.85
    assert plant.slow_down <= 0.005


def test_a_policy_that_bears_more_pressure_finds_large_sets_in_time_on_slow_swap() -> None:
    plant = MemoryPlant.split(4000 * MIB, 0.3, **SSD)
    run(plant, MemoryProbe(target=0.01))
    assert plant.given_back() >= 0.8
    assert plant.slow_down <= 0.01


@settings(max_examples=25, deadline=None)
@given(
    cold=st.floats(0.1, 0.9),
    size=st.integers(100, 4000),
    hot=st.floats(0.05, 20.0),
    cost=st.floats(1.0, 2000.0),
    mistakes=st.floats(0.0, 0.02),
    blind=st.booleans(),
)
def test_whatever_the_workload_it_is_hardly_slowed_down(
    cold: float, size: int, hot: float, cost: float, mistakes: float, blind: bool
) -> None:
    # a fault that PSI does not see is a short one
    plant = MemoryPlant.split(
        size * MIB, cold, hot_rate=hot, fault_usec=min(cost, 50.0) if blind else cost, blind=blind, mistakes=mistakes
    )
    run(plant, MemoryProbe())
    assert plant.slow_down <= 0.03


def test_a_warm_part_stays() -> None:
    pages = 1000 * MIB / PAGE
    classes = [
        Pages(rate=0.0, inactive=pages * 0.4),
        Pages(rate=1 / 20, inactive=pages * 0.3),
        Pages(rate=2.0, inactive=pages * 0.3),
    ]
    plant = MemoryPlant(classes=classes, **ZRAM)  # type: ignore[arg-type]
    run(plant, MemoryProbe())
    assert plant.given_back() >= 0.6
    assert classes[1].resident >= 0.9 * pages * 0.3
    assert plant.slow_down <= 0.005


def test_a_hot_set_that_turns_cold_is_found_later() -> None:
    plant = MemoryPlant.split(1000 * MIB, 0.3, **ZRAM)
    probe, state = MemoryProbe(), State()
    plant.run(1.0)
    for second in range(1200):
        if second == 300:
            plant.classes[1].rate = 0.0
        state, decision = probe.step(state, plant.member(1.0), 1.0)
        if decision is not None:
            apply(plant, decision)
        plant.run(1.0)
    assert plant.given_back() >= 0.8


def test_memory_that_cannot_be_swapped_is_not_asked_for_again_and_again() -> None:
    plant = MemoryPlant.split(1000 * MIB, 0.5, swap=False)
    found = run(plant, MemoryProbe(), 600)
    assert sum(isinstance(d.act, Reclaim) for _, d in found) <= 8


# --- golden traces


def test_the_first_steps_exactly() -> None:
    probe, state = MemoryProbe(), State()
    sizes: list[int] = []
    member = quiet()
    for second in range(9):
        taken = sizes[-1] / PAGE if sizes and second % 2 == 1 else 0.0
        state, decision = probe.step(state, later(member, second, memory__steal=taken, memory__scan=taken), 1.0)
        if decision is not None:
            assert isinstance(decision.act, Reclaim)
            sizes.append(decision.act.size_bytes)
    assert [round(size / MIB, 2) for size in sizes] == [2.0, 2.6, 3.38, 4.39, 5.71]


def test_the_reason_names_the_numbers() -> None:
    _, decision = MemoryProbe().step(State(), quiet(), 1.0)
    assert decision is not None
    assert decision.reason == ("web-1: takes 2.0 of 1000 MiB: pressure 0.00% < 0.10%, 0 of 0 pages came back")


def test_refaults_end_it_at_once_and_tell_the_need() -> None:
    probe, member = MemoryProbe(), quiet()
    state, _ = probe.step(State(), member, 1.0)
    state, decision = probe.step(state, later(member, 1, memory__steal=500.0, memory__activate=300.0), 1.0)
    assert decision is not None
    assert decision.act is None
    assert decision.recommend == {"MemoryHigh": 1100 * MIB}
    assert decision.reason == (
        "web-1: needs about 1000 MiB: 300 of 500 pages taken lately came back (allowed: 10.0%); "
        "nothing is taken for 10 s"
    )
    for second in range(2, 11):
        state, decision = probe.step(state, later(member, second), 1.0)
        assert decision is None
    state, decision = probe.step(state, later(member, 11), 1.0)
    assert decision is not None
    assert isinstance(decision.act, Reclaim)
    assert decision.act.size_bytes == int(1000 * MIB * 0.0005)


def test_the_pause_doubles_up_to_its_end() -> None:
    probe, member, state, pauses = MemoryProbe(), quiet(), State(), []
    for _ in range(6):
        state, _ = probe.step(state, member, 1.0)
        state, _ = probe.step(state, later(member, 1, memory__steal=1000.0, memory__activate=900.0), 1.0)
        pauses.append(state.wait_sec)
        state = replace(state, wait_sec=0.0)
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 160.0]


# --- when it must not act


@pytest.mark.parametrize(
    "signal",
    [
        "memory.current",
        "memory.unreclaimable",
        "memory.scan",
        "memory.steal",
        "pressure.memory.some_avg10",
        "pressure.memory.some_avg60",
        "pressure.io.some_avg10",
        "pressure.io.some_avg60",
    ],
)
def test_an_absent_signal_holds(signal: str) -> None:
    member = quiet()
    values = {name: value for name, value in member.sample.values.items() if name != signal}
    blind = replace(member, sample=Sample(time_usec=5, values=values))
    assert MemoryProbe().step(State(), blind, 1.0) == (State(), None)


def test_without_any_refault_counter_it_holds_and_one_is_enough() -> None:
    member = quiet()
    values = {n: v for n, v in member.sample.values.items() if "refault" not in n and "activate" not in n}
    none = replace(member, sample=Sample(time_usec=5, values=values))
    assert MemoryProbe().step(State(), none, 1.0)[1] is None
    one = replace(member, sample=Sample(time_usec=5, values=values | {"memory.refault_file": 0.0}))
    assert MemoryProbe().step(State(), one, 1.0)[1] is not None


@pytest.mark.parametrize("signal", ["pressure.memory.some_avg10", "pressure.io.some_avg60"])
def test_pressure_at_the_target_holds(signal: str) -> None:
    assert MemoryProbe().step(State(), quiet(**{signal: 0.001}), 1.0)[1] is None
    assert MemoryProbe().step(State(), quiet(**{signal: 0.0009}), 1.0)[1] is not None


def test_a_silenced_container_is_left_alone() -> None:
    state, decision = MemoryProbe().step(State(), replace(quiet(), silenced=True), 1.0)
    assert decision is None
    assert state.hold.written is None


@pytest.mark.parametrize(
    ("probe", "current"),
    [
        (MemoryProbe(min={"MemoryHigh": 1000 * MIB}), {}),
        (MemoryProbe(), {"MemoryMin": 1000 * MIB}),
        (MemoryProbe(), {"MemoryLow": INFINITY, "MemoryMin": 1000 * MIB}),
    ],
)
def test_nothing_is_taken_below_a_floor(probe: MemoryProbe, current: dict[str, int]) -> None:
    assert probe.step(State(), replace(quiet(), current=current), 1.0)[1] is None


def test_near_the_floor_only_what_is_above_it_is_taken() -> None:
    probe = MemoryProbe(min={"MemoryHigh": 999 * MIB})
    _, decision = probe.step(State(), quiet(), 1.0)
    assert decision is not None
    assert decision.act == Reclaim(size_bytes=MIB)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), floor=st.integers(100, 900), limit=st.booleans())
def test_no_dropout_makes_it_cross_a_floor(seed: int, floor: int, limit: bool) -> None:
    rng = random.Random(seed)

    def patchy(_: int, member: Member) -> Member:
        values = {name: value for name, value in member.sample.values.items() if rng.random() > 0.02}
        return replace(member, sample=replace(member.sample, values=values))

    plant = MemoryPlant.split(1000 * MIB, 0.9, **ZRAM)
    found = run(plant, MemoryProbe(limit=limit, min={"MemoryHigh": floor * MIB}), 400, patchy)
    assert plant.current_bytes >= floor * MIB - 2 * PAGE
    assert all(value >= floor * MIB for value in highs(found))


# --- MemoryHigh


def test_by_default_no_limit_is_set() -> None:
    found = run(MemoryPlant.split(1000 * MIB, 0.5, **ZRAM), MemoryProbe(), 600)
    assert not any(decision.limits for _, decision in found)


def test_the_limit_is_the_need_with_headroom_settles_and_is_renewed() -> None:
    plant = MemoryPlant.split(1000 * MIB, 0.5, **ZRAM)
    found = run(plant, MemoryProbe(limit=True), 1800)
    values = highs(found)
    assert 520 * MIB <= values[-1] <= 600 * MIB
    assert len(set(values)) <= 3
    assert len(values) >= 8  # half of five minutes is the longest time without renewal
    assert plant.slow_down <= 0.005


def test_the_first_limit_is_judged_by_its_harm() -> None:
    found = run(MemoryPlant.split(1000 * MIB, 0.5, **ZRAM), MemoryProbe(limit=True), 400)
    first = next(decision for _, decision in found if decision.limits)
    assert [(e.inode, e.signal, e.good_enough) for e in first.expect] == [(7, "pressure.memory.some", 0.01)]
    assert "MemoryHigh" in first.reason


def held(need_mib: int) -> State:
    return State(hold=Hold(need_bytes=need_mib * MIB), wait_sec=1000.0)


def first_high(probe: MemoryProbe, member: Member, need_mib: int) -> int | None:
    _, decision = probe.step(held(need_mib), member, 1.0)
    value = None if decision is None else decision.limits.get("MemoryHigh")
    return value if isinstance(value, int) else None


def test_a_limit_stays_above_usage_and_the_floors() -> None:
    probe = MemoryProbe(limit=True)
    assert (first_high(probe, quiet(), 200) or 0) >= 1000 * MIB
    small = quiet(**{"memory.current": 50.0 * MIB})
    assert first_high(probe, small, 50) == 10 * MIB + MARGIN_BYTES
    protected = replace(small, current={"MemoryHigh": INFINITY, "MemoryLow": 300 * MIB})
    assert first_high(probe, protected, 50) == 300 * MIB


def test_a_limit_keeps_within_the_policys_bounds() -> None:
    small = quiet(**{"memory.current": 200.0 * MIB})
    assert first_high(MemoryProbe(limit=True, min={"MemoryHigh": 400 * MIB}), small, 200) == 400 * MIB
    assert first_high(MemoryProbe(limit=True, max={"MemoryHigh": 210 * MIB}), small, 200) == 210 * MIB


def test_no_limit_where_a_tighter_one_stands_or_the_property_is_absent() -> None:
    probe = MemoryProbe(limit=True)
    small = quiet(**{"memory.current": 200.0 * MIB})
    tighter = replace(small, base={"MemoryHigh": 210 * MIB}, current={"MemoryHigh": 210 * MIB})
    assert first_high(probe, tighter, 200) is None
    assert first_high(probe, replace(small, current={}), 200) is None


def test_a_limit_that_hurts_rises_at_once_and_one_that_only_holds_cache_does_not() -> None:
    probe = MemoryProbe(limit=True)
    start = quiet(**{"memory.current": 200.0 * MIB})
    state, decision = probe.step(held(200), start, 1.0)
    assert decision is not None
    high = decision.limits["MemoryHigh"]
    assert high == 220 * MIB
    full = replace(later(start, 1, memory__current=220.0 * MIB), current={"MemoryHigh": high})
    assert probe.step(state, full, 1.0)[1] is None
    state, decision = probe.step(state, later(full, 1, pressure__memory__some=0.2), 1.0)
    assert decision is not None
    assert decision.limits == {"MemoryHigh": 242 * MIB}


def test_somebody_elses_limit_is_theirs() -> None:
    probe = MemoryProbe(limit=True)
    start = quiet(**{"memory.current": 200.0 * MIB})
    state, _ = probe.step(held(200), start, 1.0)
    moved = replace(later(start, 10), current={"MemoryHigh": 500 * MIB})
    limits = []
    for second in range(400):
        state, decision = probe.step(state, later(moved, second), 1.0)
        limits += [dict(decision.limits)] if decision is not None and decision.limits else []
    assert limits == [{"MemoryHigh": None}]  # ours is given up, once
    assert state.hold.foreign


def test_a_reclaim_that_was_only_observed_tells_no_need() -> None:
    probe, member = MemoryProbe(), quiet()
    state, decisions = State(), []
    for second in range(200):
        state, decision = probe.step(state, later(member, second), 1.0)
        decisions += [decision] if decision is not None else []
    assert 3 <= len(decisions) <= 6
    assert not any(decision.recommend for decision in decisions)


def test_a_lease_that_ran_out_is_nobody_elses_change() -> None:
    probe = MemoryProbe(limit=True)
    start = quiet(**{"memory.current": 200.0 * MIB})
    state, _ = probe.step(held(200), start, 1.0)
    state, decision = probe.step(state, later(start, 301), 1.0)
    assert decision is not None
    assert decision.limits == {"MemoryHigh": 220 * MIB}
    assert not state.hold.foreign


def test_what_is_known_outlives_the_daemon() -> None:
    probe = MemoryProbe()
    assert probe.load(probe.dump(held(200))).hold.need_bytes == 200 * MIB
    for broken in (None, {}, {"need_bytes": "1"}, {"need_bytes": -1}, {"need_bytes": True}):
        with pytest.raises(ValueError, match="need_bytes"):
            probe.load(broken)


def test_bounds_that_contradict_are_complained_about() -> None:
    assert MemoryProbe().complaint() == ""
    crossed = MemoryProbe(min={"MemoryHigh": 2}, max={"MemoryHigh": 1})
    assert crossed.complaint() == "min is above max: MemoryHigh"


def test_a_limit_that_was_not_set_is_asked_for_again_and_is_nobody_elses() -> None:
    probe = MemoryProbe(limit=True)
    start = quiet(**{"memory.current": 200.0 * MIB})
    state, _ = probe.step(held(200), start, 1.0)
    asked = 0
    for second in range(1, 21):
        state, decision = probe.step(state, later(start, second), 1.0)
        asked += decision is not None and decision.limits == {"MemoryHigh": 220 * MIB}
    assert asked == 4
    assert not state.hold.foreign


def test_after_a_silence_what_the_engine_put_back_is_given_up() -> None:
    probe = MemoryProbe(limit=True)
    start = quiet(**{"memory.current": 200.0 * MIB})
    state, _ = probe.step(held(200), start, 1.0)
    state, decision = probe.step(state, replace(later(start, 1), silenced=True), 1.0)
    assert decision is None
    state, decision = probe.step(state, later(start, 60), 1.0)
    assert decision is not None
    assert decision.limits == {"MemoryHigh": None}
