"""The engine with planted controllers: what is done, what is judged, what ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from governor.model.control import Control, Decision, Member, Reclaim
from governor.model.policy import Mode
from governor.model.step import StepKind
from tests.engine.planted import (
    GIB,
    HIGH,
    SEC,
    Bench,
    Script,
    cap,
    counting,
    once,
    whenever_allowed,
)


def test_a_decision_becomes_a_setting_with_its_reason() -> None:
    bench = Bench(Script(script=once(cap())))
    (step,) = bench.step()
    assert (step.kind, step.controller, step.inode, step.reason) == (StepKind.DECIDED, "script", 1, "because")
    assert step.limits == {HIGH: GIB}
    setting = bench.engine.combined(1).settings[HIGH]
    assert (setting.value, setting.source, setting.reason) == (GIB, "control:script", "because")
    assert bench.outcome.changed == {1}
    bench.step()
    assert not bench.outcome.changed


def test_what_a_decision_does_not_name_stays() -> None:
    def script(turn: int, _member: Member) -> Decision | None:
        return (
            [cap(), Decision(inode=1, reason="too", limits={"CPUWeight": 50}), cap(value=None)][turn]
            if turn < 3
            else None
        )

    bench = Bench(Script(script=script))
    bench.run(2)
    assert (bench.value(), bench.value("CPUWeight")) == (GIB, 50)
    bench.step()
    assert (bench.value(), bench.value("CPUWeight")) == (None, 50)


def test_a_decision_about_another_container_is_not_taken() -> None:
    bench = Bench(Script(script=once(cap(inode=2))), count=2)
    bench.controls = {}
    assert bench.step() == ()
    bench = Bench(Script(script=lambda _turn, _member: cap(inode=7)))
    assert bench.run(3) == []


# -- restrained


def test_the_budget_is_the_hosts_and_of_one_minute() -> None:
    bench = Bench(Script(script=counting), per_minute=3, count=5)
    bench.step()
    assert bench.kinds() == ["decided"] * 3 + ["budget"] * 2
    assert "not done" in bench.steps[-1].reason
    assert [bench.value(inode=inode) is not None for inode in bench.inodes] == [True] * 3 + [False] * 2
    bench.steps.clear()
    bench.step(58)
    assert bench.kinds() == ["budget"] * 5
    bench.steps.clear()
    bench.step(2)
    assert bench.kinds().count("decided") == 3


def test_giving_back_needs_no_budget() -> None:
    def script(turn: int, _member: Member) -> Decision | None:
        return cap(value=GIB if turn == 0 else None)

    bench = Bench(Script(script=script), per_minute=1)
    bench.run(2)
    assert bench.kinds() == ["decided", "decided"]
    assert bench.value() is None


def test_what_is_refused_for_the_budget_leaves_what_is_in_force_as_it_is() -> None:
    bench = Bench(Script(script=counting, lease=5 * SEC), per_minute=1)
    bench.run(30)
    assert bench.value() == GIB
    assert "expired" not in bench.kinds()


def test_asking_again_for_the_same_is_no_action() -> None:
    bench = Bench(Script(script=lambda _turn, _member: cap(), lease=5 * SEC), per_minute=2)
    bench.run(100)
    assert bench.kinds() == ["decided"]
    assert bench.engine.budget.take(bench.now_usec)
    (wish,) = bench.engine.wishes(1)
    assert (wish.since_usec, wish.until_usec) == (101 * SEC, bench.now_usec + 5 * SEC)


def test_what_only_observes_uses_up_nobody_elses_budget() -> None:
    bench = Bench(Script(script=counting), per_minute=1, count=3)
    bench.controls = {"script": Control.of(Script(script=counting), mode=Mode.OBSERVE)}
    bench.step()
    assert bench.kinds() == ["decided", "budget", "budget"]
    assert bench.engine.budget.take(bench.now_usec)


def test_advice_is_reported_and_costs_nothing() -> None:
    advice = Decision(inode=1, reason="would fit", recommend={HIGH: GIB})
    bench = Bench(Script(script=lambda _turn, _member: advice), per_minute=0)
    (step,) = bench.step()
    assert (step.kind, step.limits) == (StepKind.RECOMMENDED, {HIGH: GIB})
    assert bench.engine.combined(1).settings == {}


# -- observed


def test_observing_decides_and_enforces_nothing() -> None:
    bench = Bench(Script(script=once(cap())), mode=Mode.OBSERVE)
    (step,) = bench.step()
    assert (step.kind, step.mode) == (StepKind.DECIDED, Mode.OBSERVE)
    assert bench.engine.combined(1).settings == {}
    assert bench.engine.combined(1).observed[HIGH].value == GIB
    act = Decision(inode=1, reason="x", act=Reclaim(size_bytes=1))
    bench = Bench(Script(script=once(act)), mode=Mode.OBSERVE)
    bench.step()
    assert bench.kinds() == ["decided"]
    assert bench.outcome.orders == ()


def test_what_is_only_observed_is_not_judged() -> None:
    """Its signals do not know of it: they would say that it has not helped."""
    bench = Bench(Script(script=whenever_allowed), mode=Mode.OBSERVE)
    bench.run(60)
    assert bench.kinds() == ["decided"]


def test_one_that_observes_sees_what_it_would_have_set_within_its_bounds() -> None:
    mine = Script(script=once(cap()), min={HIGH: 2 * GIB})
    bench = Bench(mine, mode=Mode.OBSERVE)
    bench.run(2)
    assert [member.current[HIGH] for member in mine.seen] == [8 * GIB, 2 * GIB]
    assert mine.seen[-1].base[HIGH] == 8 * GIB


@pytest.mark.parametrize("hold_usec", [0, 300 * SEC])
def test_a_policy_that_turns_to_observing_takes_its_limit_back(hold_usec: int) -> None:
    mine = Script(script=once(cap(hold_usec=hold_usec)))
    bench = Bench(mine)
    bench.run(2)
    assert bench.value() == GIB
    bench.controls = {"script": Control.of(mine, mode=Mode.OBSERVE)}
    bench.step()
    assert bench.value() is None
    assert bench.outcome.changed == {1}


def test_new_bounds_hold_at_once() -> None:
    mine = Script(script=once(cap()))
    bench = Bench(mine)
    bench.step()
    bench.controls = {"script": Control.of(replace(mine, script=lambda _turn, _member: None, min={HIGH: 3 * GIB}))}
    bench.step()
    assert bench.value() == 3 * GIB
