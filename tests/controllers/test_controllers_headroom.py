"""headroom: weight first, a quota only where services wait all the same, and everything given back in the end."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers._allowance import Allowance, Rules
from governor.controllers._share import Claim, share
from governor.controllers._spare import Load, Wait, longest_wait, pushed, recent
from governor.controllers.headroom import Headroom, State
from governor.model.control import Scene
from governor.model.signal import Sample
from governor.model.values import INFINITY
from tests.controllers.cpu_plant import INODE, QUOTA, WEIGHT, Batch, HostPlant, member, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.model.control import Decision

KEEP = Headroom(weight="keep")
RULES = Rules(headroom=0.2, pressure=0.05, quiet_sec=60.0)
Trace = list[tuple[int, "Decision"]]


def steady(cores: float) -> Callable[[int], float]:
    return lambda _: cores


def drive(host: HostPlant, ticks: int, drop: Callable[[str], bool] = lambda _: False) -> Trace:
    state, trace = Headroom.start_all(), []
    for tick in range(ticks):
        state, decisions = Headroom.step_all(state, host.scene(drop))
        host.apply(decisions)
        trace += [(tick, decision) for decision in decisions]
    return trace


class Driver:
    """Drives one host on, with one state."""

    def __init__(self, host: HostPlant) -> None:
        self.host, self.state = host, Headroom.start_all()

    def __call__(self, ticks: int) -> list[Decision]:
        found: list[Decision] = []
        for _ in range(ticks):
            self.state, decisions = Headroom.step_all(self.state, self.host.scene())
            self.host.apply(decisions)
            found += decisions
        return found


def moves(trace: Trace) -> list[tuple[int, Any]]:
    """Return when quotas changed, and to what."""
    quotas = [(tick, decision.limits[QUOTA]) for tick, decision in trace if QUOTA in decision.limits]
    return quotas[:1] + [after for before, after in pairwise(quotas) if before[1] != after[1]]


def test_where_weight_suffices_no_work_is_lost_and_no_quota_ever_set() -> None:
    host = HostPlant(steady(0.14), {1: Batch(Headroom())}, leak=0.01)
    trace = drive(host, 600)
    assert trace[0][1].reason == "batch yields to everything else: CPU weight 100 -> idle"
    assert moves(trace) == []
    assert {tuple(decision.limits.items()) for _, decision in trace} == {((WEIGHT, 0),)}
    assert host.batch[1].work / (600 * host.capacity) >= 0.86
    assert max(host.waits[1:]) <= 0.05


def test_a_golden_trace_where_weight_does_not_suffice() -> None:
    trace = drive(HostPlant(steady(0.14), {1: Batch(Headroom())}, leak=0.08), 200)
    assert moves(trace) == [(3, percent(146)), (6, percent(116))]
    assert trace[1][1].reason == (
        "others use 0.14 of 2 cores, 20% stay free, web-1 waits for CPU 7% of the time, limit 5%, "
        "batch may use 1.46: quota none -> 146%"
    )


def test_the_cap_is_given_back_notch_by_notch_and_less_readily_after_each_relapse() -> None:
    host = HostPlant(steady(0.14), {1: Batch(Headroom())})
    driver, quotas = Driver(host), list[int]()
    for _ in range(2000):
        # A host on which the service waits as soon as batch has more than 1.3 cores.
        host.leak = 0.1 if host.batch[1].used > 1.3 else 0.0
        driver(1)
        quotas.append(host.batch[1].limits[QUOTA])
    released = [tick for tick, quota in enumerate(quotas) if quota == percent(146) and quotas[tick - 1] == percent(136)]
    assert [after - before for before, after in pairwise(released)] == [125, 245, 485, 965]


def test_without_the_services_waiting_the_cap_is_lifted() -> None:
    host = HostPlant(steady(0.14), {1: Batch(Headroom())}, leak=0.08)
    driver = Driver(host)
    driver(20)
    assert host.batch[1].limits[QUOTA] == percent(116)
    host.leak = 0.0
    lifted = [decision for decision in driver(200) if decision.limits.get(QUOTA, 0) is None]
    assert host.batch[1].limits == {QUOTA: INFINITY, WEIGHT: 0}
    assert len(lifted) == 1
    assert lifted[0].reason.endswith("limit 5%, batch may use 1.46: its weight suffices, quota 146% is lifted")


def test_kept_weights_are_always_capped_by_what_is_left() -> None:
    def load(tick: int) -> float:
        return 1.0 if 50 <= tick < 100 else 0.14

    trace = moves(drive(HostPlant(load, {1: Batch(KEEP)}, plain_leak=0.0), 160))
    # It drops at once and rises as the 5 s mean falls, by no more than a tenth of the host a second.
    assert trace == [
        (0, percent(146)), (50, percent(60)), (100, percent(77)), (101, percent(94)), (102, percent(111)),
        (103, percent(128)), (104, percent(146)),
    ]  # fmt: skip


def test_members_share_by_weight_and_what_one_leaves_goes_to_the_others() -> None:
    busy, light, lazy = Batch(KEEP), Batch(KEEP), Batch(KEEP, wants=0.1)
    for one, weight in ((busy, 200), (light, 100), (lazy, 100)):
        one.limits[WEIGHT] = one.base[WEIGHT] = weight
    drive(HostPlant(steady(0.1), {1: busy, 2: light, 3: lazy}, plain_leak=0.0, capacity=4.0), 30)
    assert busy.limits[QUOTA] == pytest.approx(2 * light.limits[QUOTA], rel=0.1)
    assert percent(10) <= lazy.limits[QUOTA] <= percent(30)
    total = sum(one.limits[QUOTA] for one in (busy, light, lazy))
    assert total == pytest.approx(percent(310), rel=0.05)


def test_bounds_of_each_policy_hold_even_where_nothing_is_left() -> None:
    wide = replace(KEEP, min={QUOTA: percent(40)})
    narrow = replace(KEEP, max={QUOTA: percent(30)})
    host = HostPlant(lambda tick: 0.0 if tick < 5 else 2.0, {1: Batch(wide), 2: Batch(KEEP), 3: Batch(narrow)})
    drive(host, 4)
    assert host.batch[3].limits[QUOTA] == percent(30)
    drive(host, 30)
    assert [one.limits[QUOTA] for one in host.batch.values()] == [percent(40), percent(5), percent(5)]


@pytest.mark.parametrize("absent", ["host.cpu.usage", "host.cpu.capacity", "cpu.usage"])
def test_what_is_absent_changes_nothing(absent: str) -> None:
    host = HostPlant(steady(0.14), {1: Batch(KEEP)})
    state = State()
    assert Headroom.step_all(state, host.scene(lambda name: name == absent)) == (state, ())


def test_without_anybodys_pressure_notches_stay() -> None:
    host = HostPlant(steady(0.14), {1: Batch(Headroom())}, leak=1.0)
    trace = drive(host, 100, lambda name: "pressure" in name)
    assert {tuple(decision.limits) for _, decision in trace} == {(WEIGHT,)}
    assert trace[0][1].expect == ()


def test_silenced_members_and_those_without_a_known_quota_are_left_alone() -> None:
    scene = HostPlant(steady(0.5), {1: Batch(KEEP, silenced=True), 2: Batch(KEEP)}).scene()
    unknown, table = scene.members[2]
    members = {**scene.members, 2: (replace(unknown, current={WEIGHT: 100}), table)}
    assert Headroom.step_all(State(), replace(scene, members=members))[1] == ()


def test_somebody_elses_quota_is_left_alone_for_the_cooldown() -> None:
    host = HostPlant(steady(0.14), {1: Batch(KEEP)})
    driver = Driver(host)
    driver(3)
    host.batch[1].limits[QUOTA] = percent(33)
    assert driver(60) == []
    assert host.batch[1].limits[QUOTA] == percent(33)
    assert driver(30)


def test_a_weight_that_somebody_else_has_set_is_theirs() -> None:
    host = HostPlant(steady(0.14), {1: Batch(Headroom())})
    host.batch[1].limits[WEIGHT] = 20
    assert [one for _, one in drive(host, 3) if WEIGHT in one.limits] == []
    driver = Driver(HostPlant(steady(0.14), {1: Batch(Headroom())}))
    driver(3)
    driver.host.batch[1].limits[WEIGHT] = 300
    assert [one for one in driver(200) if WEIGHT in one.limits] == []


def test_a_cap_expects_the_one_who_waited_to_wait_less() -> None:
    host = HostPlant(steady(0.14), {1: Batch(Headroom())}, leak=0.08)
    cap = next(decision for _, decision in drive(host, 10) if QUOTA in decision.limits)
    assert [(one.inode, one.signal, one.gain, one.good_enough) for one in cap.expect] == [
        (INODE, "pressure.cpu.some", 0.1, 0.05)
    ]


def test_who_waits_by_its_own_doing_is_nobodys_victim() -> None:
    waits = {"pressure.cpu.some": 0.9}
    others = {
        1: member(waits | {"cpu.throttled_ratio": 0.5}),
        2: member(waits, current={WEIGHT: 0}),
        3: member({"pressure.cpu.some": 0.1}, name="db"),
        4: member({}),
    }
    scene = Scene(now_usec=1, dt_sec=1.0, host=Sample(time_usec=1), members={}, others=others)
    assert longest_wait(scene) == Wait(3, "db", 0.1)


def test_what_the_host_waits_beyond_its_batch_is_waited_by_somebody() -> None:
    host = Sample(time_usec=1, values={"host.pressure.cpu.some": 0.5})
    batch = {7: (member({"pressure.cpu.some": 0.2}), KEEP)}
    scene = Scene(now_usec=1, dt_sec=1.0, host=host, members=batch)
    assert longest_wait(scene) == Wait(0, "the host", 0.3)
    assert longest_wait(replace(scene, host=Sample(time_usec=1))) is None


def test_a_short_burst_of_waiting_does_not_cap() -> None:
    allowance = Allowance()
    for ratio in (0.9, 0.9, 0.0, 0.9, 0.9, 0.04):
        allowance = allowance.next(Load(2.0, 1.8, 0.1), Wait(7, "web", ratio), RULES, 1.8, 1.0)
    assert allowance.notch == 0
    for _ in range(3):
        allowance = allowance.next(Load(2.0, 1.8, 0.1), Wait(7, "web", 0.9), RULES, 1.8, 1.0)
    assert allowance.notch == 1


def test_batch_that_hardly_runs_is_not_blamed() -> None:
    allowance = Allowance()
    for _ in range(20):
        allowance = allowance.next(Load(2.0, 0.05, 1.9), Wait(7, "web", 0.9), RULES, 0.05, 1.0)
    assert allowance.notch == 0


def test_means_rise_at_once_and_fall_after_five_seconds() -> None:
    used = pushed((), 1.0, 0.2)
    used = pushed(used, 1.0, 1.2)
    assert recent(used) == 1.2
    falls = []
    for _ in range(6):
        used = pushed(used, 1.0, 0.2)
        falls.append(round(recent(used), 2))
    assert falls == [0.53, 0.45, 0.4, 0.4, 0.2, 0.2]


claims = st.dictionaries(
    st.integers(0, 50),
    st.builds(
        Claim,
        weight=st.floats(1, 10_000),
        low=st.just(0.05),
        want=st.one_of(st.just(math.inf), st.floats(0, 4)),
        high=st.one_of(st.just(math.inf), st.floats(0.05, 4)),
    ),
    max_size=8,
)


@given(total=st.floats(-1, 64), wanted=claims)
def test_shares_keep_floors_and_caps_and_use_up_the_total(total: float, wanted: dict[int, Claim]) -> None:
    parts = share(total, wanted)
    floors = sum(claim.low for claim in wanted.values())
    assert all(claim.low <= parts[name] <= max(claim.low, claim.high) for name, claim in wanted.items())
    assert sum(parts.values()) <= max(total, floors) + 1e-6
    if wanted and all(claim.high == math.inf for claim in wanted.values()) and total >= floors:
        assert sum(parts.values()) == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (Headroom(min={QUOTA: 3}, max={QUOTA: 2}), "min.CPUQuota is above max.CPUQuota: no value is left between them"),
        (Headroom(max={WEIGHT: 3}), "max.CPUWeight: headroom does not move CPUWeight"),
        (Headroom(), ""),
    ],
)
def test_bounds_that_cannot_be(table: Headroom, complaint: str) -> None:
    assert table.complaint() == complaint


@settings(max_examples=25)
@given(seed=st.integers(0, 999), lost=st.floats(0, 0.5), leak=st.floats(0, 0.5), members=st.integers(1, 4))
def test_any_load_with_lost_signals_keeps_the_floors(seed: int, lost: float, leak: float, members: int) -> None:
    random = Random(seed)
    tables = [KEEP, Headroom(), replace(KEEP, min={QUOTA: percent(20)}), replace(KEEP, max={QUOTA: percent(50)})]
    host = HostPlant(lambda _: random.uniform(0.0, 2.0), {n: Batch(tables[n]) for n in range(members)}, leak=leak)
    trace = drive(host, 150, lambda _: random.random() < lost)
    for _, decision in trace:
        quota = decision.limits.get(QUOTA)
        if quota is not None:
            assert isinstance(quota, int)
            assert quota >= percent(20 if decision.inode == 2 else 5)
            assert quota % percent(1) == 0
            assert decision.inode != 3 or quota <= percent(50)


@settings(max_examples=20)
@given(load=st.floats(0.0, 1.5), leak=st.floats(0.0, 0.02))
def test_under_an_even_load_it_comes_to_rest(load: float, leak: float) -> None:
    host = HostPlant(steady(load), {1: Batch(Headroom()), 2: Batch(KEEP)}, leak=leak, plain_leak=leak)
    late = [value for tick, value in moves(drive(host, 200)) if tick > 60]
    assert late == []
