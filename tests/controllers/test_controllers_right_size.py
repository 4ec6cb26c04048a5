"""right-size: what a history of usage comes to, when it is applied, and when it is given back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers._histogram import BUCKETS, Histogram
from governor.controllers._need import Forgetting, Need
from governor.controllers.right_size import RightSize, State
from governor.model.signal import Sample
from governor.model.values import INFINITY, USEC_PER_SEC
from tests.controllers.cpu_plant import QUOTA, member, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.model.control import Decision

HIGH = "MemoryHigh"
MIB = 2**20
DAY = 86_400
NONE = {QUOTA: INFINITY, HIGH: INFINITY}
APPLY = RightSize(apply=True)
FORGETTING = Forgetting(half_life=DAY, interval=DAY)
HOURLY = Forgetting(half_life=DAY, interval=3600)


def values(cores: float = 0.4, mib: float = 400, **more: float) -> dict[str, float]:
    return {"cpu.usage": cores, "memory.working_set": mib * MIB} | {k.replace("_", ".", 1): v for k, v in more.items()}


class Box:
    """A container whose limits are what right-size makes them; a step is a minute."""

    def __init__(self, table: RightSize, **limits: int) -> None:
        self.table, self.state = table, table.start()
        self.base, self.minute = NONE | limits, 0
        self.limits = dict(self.base)
        self.decisions: list[tuple[int, Decision]] = []

    def run(self, minutes: int, load: Callable[[int], dict[str, float]], **more: Any) -> list[Decision]:
        found = []
        for _ in range(minutes):
            now = (self.minute + 1) * 60 * USEC_PER_SEC
            seen = member(load(self.minute), now, current=dict(self.limits), base=self.base, **more)
            self.state, decision = self.table.step(self.state, seen, 60.0)
            if decision:
                found.append(decision)
                self.decisions.append((self.minute, decision))
                for name, value in decision.limits.items():
                    assert value is None or isinstance(value, int)
                    self.limits[name] = self.base[name] if value is None else value
            self.minute += 1
        return found


def steady(_: int) -> dict[str, float]:
    return values()


def test_a_golden_trace_of_advice() -> None:
    box = Box(RightSize())
    box.run(DAY // 60, steady)
    box.run(DAY // 60, lambda _: values(cores=0.8))
    assert [(minute, dict(decision.recommend)) for minute, decision in box.decisions] == [
        (9, {QUOTA: percent(48), HIGH: 511774720}),
        (1552, {QUOTA: percent(93), HIGH: 511774720}),
    ]
    assert box.decisions[0][1].reason == (
        "p90 of 0.2 h with 15% to spare, band 37% to 6909%: CPUQuota none -> 48%; "
        "p90 of 0.2 h with 15% to spare, band 373M to 70769M: MemoryHigh none -> 488M"
    )
    assert box.limits == NONE


def test_a_young_history_moves_a_limit_only_into_its_band_an_old_one_to_the_target() -> None:
    box = Box(APPLY)
    box.run(60, steady)
    first = box.limits[QUOTA]
    assert first > 10 * percent(48)
    box.run(DAY // 60 - 61, steady)
    assert percent(90) < box.limits[QUOTA] < percent(120)
    box.run(2, steady)
    assert box.limits == {QUOTA: percent(48), HIGH: 511774720}


def test_changes_of_less_than_a_tenth_are_not_made_but_leases_renewed() -> None:
    box = Box(APPLY)
    box.run(DAY // 60 + 10, steady)
    late = box.run(60, lambda minute: values(cores=0.4 + 0.02 * (minute % 2)))
    assert {decision.limits.get(QUOTA, percent(48)) for decision in late} == {percent(48)}
    assert len(late) >= 10


def test_a_cut_never_goes_below_what_was_used_since_the_last_look() -> None:
    box = Box(replace(APPLY, settled=600 * USEC_PER_SEC))
    box.run(DAY // 60, lambda _: values(cores=0.1, mib=300))
    assert box.limits[QUOTA] == percent(13)
    fresh = Box(replace(APPLY, settled=600 * USEC_PER_SEC))
    fresh.state = replace(box.state, seats=State().seats)
    fresh.run(1, lambda _: values(cores=0.9, mib=900))
    assert fresh.limits[QUOTA] >= percent(90)
    assert fresh.limits[HIGH] >= 900 * MIB


def test_a_limit_that_hurts_is_given_back_at_once_and_not_set_again_for_an_hour() -> None:
    box = Box(APPLY)
    box.run(DAY // 60 + 10, steady)
    [given_back] = box.run(1, lambda _: values(cores=0.48, cpu_throttled_ratio=0.9))
    assert given_back.limits == {QUOTA: None}
    assert given_back.reason == (
        "waited for CPU or memory 90% of the time, which the history did not foresee: CPUQuota 48% is given back"
    )
    box.run(58, lambda _: values(cores=2.0))
    assert box.limits[QUOTA] == INFINITY
    assert box.limits[HIGH] == 511774720


def test_static_limits_bound_what_is_applied_but_not_advice() -> None:
    box = Box(APPLY, **{QUOTA: percent(30)})
    box.run(DAY // 60 + 10, steady)
    assert box.limits[QUOTA] == percent(30)
    advised = Box(RightSize(), **{QUOTA: percent(30)})
    advised.run(20, steady)
    assert advised.decisions[0][1].recommend[QUOTA] == percent(48)


def test_floors_and_bounds() -> None:
    def tiny(_: int) -> dict[str, float]:
        return values(cores=0.001, mib=1)

    plain, bounded = Box(RightSize()), Box(RightSize(min={HIGH: 64 * MIB}, max={QUOTA: percent(20)}))
    plain.run(20, tiny)
    bounded.run(20, tiny)
    assert plain.decisions[0][1].recommend == {QUOTA: percent(5), HIGH: 250 * MIB}
    assert bounded.decisions[0][1].recommend == {QUOTA: percent(5), HIGH: 64 * MIB}
    bounded.run(DAY // 60, steady)
    assert bounded.decisions[-1][1].recommend[QUOTA] == percent(20)


def test_an_oom_kill_counts_as_more_than_was_used() -> None:
    need = Need().seen(Sample(time_usec=1, values=values(mib=400)), 1.0, FORGETTING)
    killed = need.seen(Sample(time_usec=2, values=values(mib=10, memory_oom_kills=1)), 1.0, FORGETTING)
    assert killed.memory_peak == 500 * MIB
    large = Need().seen(Sample(time_usec=1, values=values(mib=1000, memory_oom_kills=1)), 1.0, FORGETTING)
    assert large.memory_peak == 1200 * MIB


def test_memory_counts_by_the_peak_of_each_interval() -> None:
    need = Need()
    for minute in range(3 * 60):
        spike = 800 if minute == 30 else 300
        need = need.seen(Sample(time_usec=1, values=values(mib=spike)), 60.0, HOURLY)
    assert sum(1 for weight in need.memory.weights if weight) == 2
    assert need.memory.percentile(1.0) == pytest.approx(800 * MIB, rel=0.06)
    assert need.memory.percentile(0.6) == pytest.approx(300 * MIB, rel=0.06)


def test_what_is_absent_changes_nothing() -> None:
    state = State()
    assert APPLY.step(state, member({}), 1.0) == (state, None)
    seen, _ = APPLY.step(state, member({"cpu.usage": 0.3}), 1.0)
    assert seen.need.memory_band(0.9, FORGETTING) is None
    box = Box(APPLY)
    box.base = box.limits = {HIGH: INFINITY}
    box.run(DAY // 60 + 10, steady)
    assert box.limits == {HIGH: 511774720}


def test_silenced_it_learns_and_decides_nothing() -> None:
    box = Box(APPLY)
    assert box.run(DAY // 60 + 10, steady, silenced=True) == []
    assert box.state.need.age_sec == pytest.approx(DAY + 600)


def test_somebody_elses_limit_is_left_alone_for_the_cooldown() -> None:
    box = Box(replace(APPLY, cooldown=600 * USEC_PER_SEC))
    box.run(DAY // 60 + 10, steady)
    box.limits[QUOTA] = percent(300)
    assert [one for one in box.run(10, steady) if QUOTA in one.limits] == []
    box.run(2, steady)
    assert box.limits[QUOTA] == percent(48)


def test_a_history_outlives_a_restart() -> None:
    box = Box(RightSize())
    box.run(2000, lambda minute: values(cores=Random(minute).uniform(0.1, 2), mib=300 + minute % 500))
    restored = RightSize().load(json.loads(json.dumps(RightSize().dump(box.state))))
    assert restored.need.age_sec == box.state.need.age_sec
    assert restored.need.cpu_band(0.9) == box.state.need.cpu_band(0.9)
    assert restored.need.memory_band(0.9, FORGETTING) == box.state.need.memory_band(0.9, FORGETTING)


DUMP = RightSize().dump(State())


@pytest.mark.parametrize(
    "dumped",
    [
        None, [], {}, DUMP | {"cpu": []}, DUMP | {"cpu": {"x": 1}}, DUMP | {"cpu": {"176": 1}},
        DUMP | {"cpu": {"000000000999": 1}}, DUMP | {"cpu": {"1": -1}}, DUMP | {"cpu": {"1": math.nan}},
        DUMP | {"age_sec": "1"}, DUMP | {"memory": {"1": True}}, DUMP | {"memory_peak": math.inf},
    ],
)  # fmt: skip
def test_a_dump_of_another_form_is_refused(dumped: object) -> None:
    with pytest.raises(ValueError):
        RightSize().load(dumped)


def test_bounds_that_cannot_be() -> None:
    assert RightSize(min={HIGH: 2}, max={HIGH: 1}).complaint().startswith("min.MemoryHigh is above max.MemoryHigh")
    assert RightSize(min={"CPUWeight": 2}).complaint() == "min.CPUWeight: right-size does not move CPUWeight"


def test_the_past_fades_by_half_in_a_half_life() -> None:
    histogram = Histogram(first=0.01)
    for hour in range(24):
        histogram = histogram.add(1.0, 1.0, hour * 3600.0, DAY)
    for hour in range(24, 24 + 300 * 24):
        histogram = histogram.add(0.1, 1.0, hour * 3600.0, DAY)
    assert histogram.percentile(0.999) == pytest.approx(0.1, rel=0.11)
    assert max(histogram.weights) < 1e18


@given(
    samples=st.lists(st.floats(0.0, 2000.0), min_size=1, max_size=50),
    share=st.floats(0.01, 1.0),
)
def test_a_percentile_is_a_bucket_above_the_samples(samples: list[float], share: float) -> None:
    histogram = Histogram(first=0.01)
    for value in samples:
        histogram = histogram.add(value, 1.0, 0.0, DAY)
    found = histogram.percentile(share)
    exact = sorted(samples)[max(0, math.ceil(share * len(samples) * (1 - 1e-9)) - 1)]
    assert found is not None
    assert min(exact, 1000) * 0.999 <= found <= exact * 1.05 + 0.0106
    assert len(histogram.weights) == BUCKETS


@settings(max_examples=10)
@given(seed=st.integers(0, 999), lost=st.floats(0.0, 0.9), top=st.floats(0.0, 4.0))
def test_any_load_with_lost_signals_keeps_floors_and_steps(seed: int, lost: float, top: float) -> None:
    random = Random(seed)

    def load(_: int) -> dict[str, float]:
        seen = values(random.uniform(0, top), random.uniform(1, 900), cpu_throttled_ratio=random.choice([0.0, 0.0, 1]))
        return {name: value for name, value in seen.items() if random.random() > lost}

    table = replace(APPLY, settled=600 * USEC_PER_SEC, max={QUOTA: percent(150)})
    box = Box(table)
    for _ in range(300):
        before = dict(box.limits)
        for decision in box.run(1, load):
            assert all(value is None or isinstance(value, int) for value in decision.limits.values())
        assert box.limits[QUOTA] == INFINITY or percent(5) <= box.limits[QUOTA] <= percent(150)
        assert box.limits[HIGH] >= 250 * MIB
        assert all(
            box.limits[name] == before[name]
            or INFINITY in (before[name], box.limits[name])
            or abs(box.limits[name] / before[name] - 1) >= 0.099
            for name in before
        )


@settings(max_examples=10)
@given(cores=st.floats(0.01, 8.0), mib=st.floats(1, 4000))
def test_under_an_even_load_it_comes_to_rest_above_the_usage(cores: float, mib: float) -> None:
    box = Box(replace(APPLY, settled=3600 * USEC_PER_SEC))
    box.run(180, lambda _: values(cores, mib))
    rested = dict(box.limits)
    box.run(300, lambda _: values(cores, mib))
    assert box.limits == rested
    assert box.limits[QUOTA] >= percent(cores * 100)
    assert box.limits[HIGH] >= mib * MIB
