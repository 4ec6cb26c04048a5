"""pressure-kill: notice first, and never more than the policy says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.controllers.pressure_kill import PressureKill, State
from governor.model.control import Controller, Decision, Freeze, Kill, Member, Notify, Scene
from governor.model.signal import Sample
from governor.model.values import USEC_PER_SEC

A, B = 1, 2
OWN = "pressure.memory.full"
HOST = "host.pressure.memory.full"
NOTIFY = PressureKill()
KILL = PressureKill(action="kill")
SEC = USEC_PER_SEC


def bad(scan: float = 1000.0, pressure: float = 0.8, **more: float) -> dict[str, float]:
    return {f"{OWN}_avg10": pressure, f"{OWN}_avg60": 0.0, "memory.scan": scan} | more


GOOD = bad(scan=0.0, pressure=0.0)


@dataclass
class Host:
    """Containers whose pressure the test sets."""

    keys: dict[int, PressureKill]
    state: State = field(default_factory=PressureKill.start_all)
    silenced: frozenset[int] = frozenset()
    now: int = SEC
    second: int = 0
    decisions: list[tuple[int, Decision]] = field(default_factory=list)

    def run(
        self, seconds: int, values: dict[int, dict[str, float]], host: dict[str, float] | None = None
    ) -> list[tuple[int, Decision]]:
        found = []
        for _ in range(seconds):
            members: dict[int, tuple[Member, Controller]] = {
                inode: (self.member(inode, seen), self.keys[inode]) for inode, seen in values.items()
            }
            whole = Sample(time_usec=self.now, values=host or {})
            scene = Scene(now_usec=self.now, dt_sec=1.0, host=whole, members=members)
            self.state, decisions = PressureKill.step_all(self.state, scene)
            found += [(self.second, decision) for decision in decisions]
            self.now += SEC
            self.second += 1
        self.decisions += found
        return found

    def member(self, inode: int, values: dict[str, float]) -> Member:
        sample = Sample(time_usec=self.now, values=values)
        return Member(inode=inode, name=f"box-{inode}", sample=sample, silenced=inode in self.silenced)


def acts(found: list[tuple[int, Decision]]) -> list[tuple[int, int, object]]:
    return [(second, d.inode, d.act) for second, d in found]


# --- golden traces


def test_notice_after_thirty_seconds_and_nothing_more_by_default() -> None:
    host = Host({A: NOTIFY})
    host.run(300, {A: bad()})
    assert acts(host.decisions) == [(30, A, Notify(grace_usec=10 * SEC))]
    assert host.decisions[0][1].reason == (
        "box-1: its tasks all waited for memory 80% of the time (limit 60%) for 30 s; 10 s of grace, nothing follows"
    )


def test_a_notice_that_nothing_follows_is_repeated_after_five_minutes() -> None:
    host = Host({A: NOTIFY})
    host.run(345, {A: bad()})
    assert [second for second, _ in host.decisions] == [30, 340]


def test_a_policy_that_says_kill_later_gives_a_notice_of_its_own_first() -> None:
    host = Host({A: NOTIFY})
    host.run(60, {A: bad()})
    host.keys[A] = KILL
    assert acts(host.run(15, {A: bad()})) == [(60, A, Notify(grace_usec=10 * SEC)), (70, A, Kill(whole=True))]


def test_kill_after_the_grace() -> None:
    host = Host({A: KILL})
    host.run(45, {A: bad()})
    assert acts(host.decisions) == [(30, A, Notify(grace_usec=10 * SEC)), (40, A, Kill(whole=True))]
    assert host.decisions[1][1].reason == (
        "box-1: its tasks all waited for memory 80% of the time (limit 60%) for 40 s, still after 10 s of grace: "
        "all its processes are killed"
    )


def test_only_the_biggest_process_where_the_policy_says_so() -> None:
    host = Host({A: replace(KILL, whole=False)})
    host.run(70, {A: bad()})
    assert [d.act for _, d in host.decisions] == [
        Notify(grace_usec=10 * SEC),
        Kill(whole=False),
        Notify(grace_usec=10 * SEC),
        Kill(whole=False),
    ]
    assert [second for second, _ in host.decisions] == [30, 40, 55, 65]


def test_frozen_first_then_killed_where_the_host_is_no_better() -> None:
    host = Host({A: replace(KILL, freeze=20 * SEC)})
    host.run(70, {A: bad()})
    assert acts(host.decisions) == [
        (30, A, Notify(grace_usec=10 * SEC)),
        (40, A, Freeze(frozen=True)),
        (60, A, Kill(whole=True)),
    ]
    assert host.decisions[1][1].hold_usec == 20 * SEC
    assert [(e.inode, e.signal) for e in host.decisions[1][1].expect] == [(A, OWN)]


def test_thawed_when_it_recovers_and_killed_without_another_freeze_when_trouble_returns() -> None:
    host = Host({A: replace(KILL, freeze=60 * SEC)})
    host.run(45, {A: bad()})
    found = host.run(10, {A: GOOD})
    assert acts(found) == [(45, A, Freeze(frozen=False))]
    found = host.run(50, {A: bad()})
    assert [d.act for _, d in found] == [Notify(grace_usec=10 * SEC), Kill(whole=True)]


def test_frozen_for_a_while_and_thawed_where_killing_is_not_allowed() -> None:
    host = Host({A: PressureKill(action="freeze", freeze=20 * SEC)})
    host.run(65, {A: bad()})
    assert [d.act for _, d in host.decisions][:3] == [
        Notify(grace_usec=10 * SEC),
        Freeze(frozen=True),
        Freeze(frozen=False),
    ]
    assert host.decisions[2][1].reason == "box-1: frozen for 20 s: thawed"


def test_recovery_within_the_grace_is_said_and_ends_it() -> None:
    host = Host({A: KILL})
    host.run(35, {A: bad()})
    found = host.run(60, {A: GOOD})
    assert acts(found) == [(35, A, None)]
    assert found[0][1].reason == "box-1: recovered within the grace: nothing is done"


# --- the conditions


def test_pressure_below_the_limit_or_too_short_is_no_trouble() -> None:
    assert Host({A: KILL}).run(300, {A: bad(pressure=0.6)}) == []
    host = Host({A: KILL})
    for _ in range(10):
        host.run(29, {A: bad()})
        host.run(1, {A: GOOD})
    assert host.decisions == []


def test_without_reclaim_within_thirty_seconds_it_is_no_trouble() -> None:
    assert Host({A: KILL}).run(300, {A: bad(scan=0.0)}) == []
    host = Host({A: KILL})
    host.run(10, {A: bad()})
    assert host.run(60, {A: bad(scan=0.0)}) != []
    host = Host({A: KILL})
    host.run(1, {A: bad(pressure=0.1)})
    assert host.run(60, {A: bad(scan=0.0)}) == []


def test_oomds_rule_sees_what_swings() -> None:
    host = Host({A: KILL})
    for _ in range(20):
        host.run(1, {A: bad(pressure=0.55, **{f"{OWN}_avg60": 0.7})})
        host.run(1, {A: bad(pressure=0.65, **{f"{OWN}_avg60": 0.7})})
    assert host.decisions[0][1].act == Notify(grace_usec=10 * SEC)
    assert "70% over a minute" in host.decisions[0][1].reason


def test_what_is_on_its_way_down_is_left_alone_by_oomds_rule() -> None:
    host = Host({A: KILL})
    for _ in range(20):
        host.run(1, {A: bad(pressure=0.55, **{f"{OWN}_avg60": 0.7})})
        host.run(1, {A: bad(pressure=0.90, **{f"{OWN}_avg60": 0.5})})
    assert host.decisions == []


def test_the_hosts_trouble_is_that_of_whoever_makes_reclaim_work() -> None:
    calm = bad(pressure=0.1)
    host = Host({A: KILL, B: KILL})
    found = host.run(45, {A: calm | {"memory.scan": 50.0}, B: calm}, {f"{HOST}_avg10": 0.9})
    assert {d.inode for _, d in found} == {B}
    assert "the host's tasks all waited" in found[0][1].reason


def test_swap_that_runs_out_is_trouble_only_where_the_policy_asks() -> None:
    empty = {
        "host.swap.free": 5.0,
        "host.swap.total": 100.0,
        "host.memory.available": 5.0,
        "host.memory.total": 100.0,
    }
    using = GOOD | {"memory.swap": 50.0}
    assert Host({A: KILL}).run(60, {A: using}, empty) == []
    asks = replace(KILL, swap_limit=0.1)
    found = Host({A: asks}).run(15, {A: using}, empty)
    assert [d.act for _, d in found] == [Notify(grace_usec=10 * SEC), Kill(whole=True)]
    assert "free swap 5% and available memory 5% below 10%" in found[0][1].reason
    assert Host({A: asks}).run(60, {A: GOOD}, empty) == []
    assert Host({A: asks}).run(60, {A: using}, empty | {"host.memory.available": 50.0}) == []


# --- who


def test_whoever_makes_reclaim_scan_most_is_first() -> None:
    found = Host({A: KILL, B: KILL}).run(41, {A: bad(scan=100.0), B: bad(scan=200.0)})
    assert {d.inode for _, d in found} == {B}


def test_whom_the_policy_would_rather_avoid_is_last() -> None:
    found = Host({A: KILL, B: replace(KILL, preference="avoid")}).run(41, {A: bad(scan=100.0), B: bad(scan=200.0)})
    assert {d.inode for _, d in found} == {A}


def test_one_at_a_time_with_a_rest_between() -> None:
    host = Host({A: KILL, B: KILL})
    host.run(45, {A: bad(), B: bad(scan=500.0)})
    host.run(25, {B: bad(scan=500.0)})
    assert acts(host.decisions) == [
        (30, A, Notify(grace_usec=10 * SEC)),
        (40, A, Kill(whole=True)),
        (55, B, Notify(grace_usec=10 * SEC)),
        (65, B, Kill(whole=True)),
    ]


def test_one_that_may_only_be_told_does_not_shield_the_next() -> None:
    host = Host({A: NOTIFY, B: KILL})
    host.run(60, {A: bad(), B: bad(scan=500.0)})
    assert [(d.inode, d.act) for _, d in host.decisions] == [
        (A, Notify(grace_usec=10 * SEC)),
        (B, Notify(grace_usec=10 * SEC)),
        (B, Kill(whole=True)),
    ]


def test_a_silenced_container_is_left_alone() -> None:
    host = Host({A: KILL}, silenced=frozenset({A}))
    assert host.run(100, {A: bad()}) == []


def test_what_is_not_known_neither_condemns_nor_acquits() -> None:
    host = Host({A: KILL})
    host.run(35, {A: bad()})
    assert host.run(20, {A: {}}) == []
    assert A in host.state.cases
    assert acts(host.run(1, {A: bad()})) != [(55, A, Kill(whole=True))]


def test_those_that_are_gone_are_forgotten() -> None:
    host = Host({A: KILL})
    host.run(35, {A: bad()})
    assert host.run(10, {}) == []
    assert (host.state.cases, host.state.watches) == ({}, {})


# --- never more than the policy says

READING = st.fixed_dictionaries(
    {},
    optional={
        f"{OWN}_avg10": st.floats(0, 1),
        f"{OWN}_avg60": st.floats(0, 1),
        "memory.scan": st.sampled_from([0.0, 10.0, 1e6]),
        "memory.swap": st.sampled_from([0.0, 1e9]),
    },
)
PHASES = st.lists(st.tuples(st.integers(1, 60), READING, READING), min_size=1, max_size=6)
EMPTY = {"host.swap.free": 0.0, "host.swap.total": 1.0, "host.memory.available": 0.0, "host.memory.total": 1.0}


@settings(max_examples=30, deadline=None)
@given(phases=PHASES, action=st.sampled_from(["notify", "freeze"]), whole=st.floats(0, 1))
def test_nothing_is_killed_without_action_kill(
    phases: list[tuple[int, dict[str, float], dict[str, float]]], action: str, whole: float
) -> None:
    keys = PressureKill(action=action, freeze=20 * SEC if action == "freeze" else 0, swap_limit=0.5, limit=0.3)
    host = Host({A: keys, B: keys})
    for seconds, one, other in phases:
        host.run(seconds, {A: one, B: other}, EMPTY | {f"{HOST}_avg10": whole})
    made = [d.act for _, d in host.decisions]
    assert not any(isinstance(act, Kill) for act in made)
    assert action == "freeze" or not any(isinstance(act, Freeze) for act in made)


@settings(max_examples=30, deadline=None)
@given(phases=PHASES, freeze=st.sampled_from([0, 20 * SEC]))
def test_every_kill_comes_a_grace_after_a_notice_and_a_rest_after_the_last(
    phases: list[tuple[int, dict[str, float], dict[str, float]]], freeze: int
) -> None:
    keys = replace(KILL, freeze=freeze, swap_limit=0.5, limit=0.3)
    host = Host({A: keys, B: keys})
    for seconds, one, other in phases:
        host.run(seconds, {A: one, B: other}, EMPTY)
    told: dict[int, int] = {}
    harsh = -100
    for second, decision in host.decisions:
        if isinstance(decision.act, Notify):
            told[decision.inode] = second
        elif isinstance(decision.act, Kill) or decision.act == Freeze(frozen=True):
            assert second - told[decision.inode] >= 10
            assert second - harsh >= 15
            harsh = second


@settings(max_examples=30, deadline=None)
@given(phases=PHASES)
def test_whatever_is_frozen_is_thawed_or_killed_in_time(
    phases: list[tuple[int, dict[str, float], dict[str, float]]],
) -> None:
    host = Host({A: PressureKill(action="freeze", freeze=20 * SEC, limit=0.3)})
    for seconds, one, _ in phases:
        host.run(seconds, {A: one})
    host.run(21, {A: {}})
    frozen = [d.act.frozen for _, d in host.decisions if isinstance(d.act, Freeze)]
    assert frozen == [True, False] * (len(frozen) // 2)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        (PressureKill(action="freeze"), "freeze ="),
        (PressureKill(freeze=SEC), "never freezes"),
        (PressureKill(whole=False), "whole"),
    ],
)
def test_keys_that_do_not_go_together(keys: PressureKill, word: str) -> None:
    assert word in keys.complaint()
    assert KILL.complaint() == ""
