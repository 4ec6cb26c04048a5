"""The engine with planted controllers: what ends, what fails, and what several do together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.model.control import Control, Decision, Freeze, Member, Scene
from governor.model.step import StepKind
from tests.engine.planted import (
    GIB,
    HIGH,
    SEC,
    Bench,
    FastScript,
    Meeting,
    OtherScript,
    Script,
    SlowMeeting,
    cap,
    counting,
    expecting,
    once,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_lease_is_renewed_while_the_controller_looks_and_ends_when_it_is_blind() -> None:
    bench = Bench(Script(script=once(cap()), lease=5 * SEC))
    bench.run(20)
    assert bench.value() == GIB
    bench.values.clear()
    bench.run(4)
    assert bench.value() == GIB
    bench.run(2)
    assert bench.value() is None
    assert bench.kinds() == ["decided", "expired"]
    assert "time is up" in bench.steps[-1].reason


def test_an_end_that_a_decision_sets_is_not_moved() -> None:
    bench = Bench(Script(script=once(cap(hold_usec=3 * SEC))))
    bench.run(3)
    assert bench.value() == GIB
    bench.step()
    assert bench.value() is None


def test_without_the_policy_the_limit_goes_and_the_controller_begins_anew() -> None:
    mine = Script(script=once(cap()))
    bench = Bench(mine)
    bench.run(3)
    controls, bench.controls = bench.controls, {}
    (step,) = bench.step()
    assert step.kind is StepKind.EXPIRED
    assert "no policy" in step.reason
    assert bench.value() is None
    bench.controls = controls
    assert [step.kind for step in bench.step()] == [StepKind.DECIDED]


def test_a_container_that_ends_takes_everything_along() -> None:
    bench = Bench(Script(script=once(cap(expect=expecting()))))
    bench.run(2)
    bench.inodes = []
    (step,) = bench.step()
    assert step.kind is StepKind.EXPIRED
    bench.engine.forget(1)
    assert bench.engine.wishes(1) == ()
    assert bench.engine.combined(1).settings == {}
    assert bench.engine.state("script", 1) is None
    assert bench.run(20) == []


def test_release_drops_everything() -> None:
    bench = Bench(Script(script=once(cap(expect=expecting()))), OtherScript(script=once(cap(value=2 * GIB))), count=2)
    bench.controls["script"] = Control.of(Script(script=lambda turn, m: cap(m.inode) if turn == 0 else None))
    bench.run(2)
    outcome = bench.engine.release(bench.now_usec, "the loop had stalled")
    assert outcome.changed == {1, 2}
    assert {(step.kind, step.reason) for step in outcome.steps} == {(StepKind.RELEASED, "the loop had stalled")}
    for inode in bench.inodes:
        assert bench.engine.wishes(inode) == ()
        assert bench.engine.combined(inode).settings == {}
        assert bench.engine.state("script", inode) is None
    bench.controls = {}
    assert bench.run(20) == []


def test_what_an_earlier_daemon_set_holds_until_it_is_looked_at() -> None:
    bench = Bench(Script(lease=5 * SEC))
    bench.engine.adopt(bench.world().subjects[1], "script", {HIGH: GIB}, bench.now_usec)
    assert bench.value() == GIB
    bench.run(20)
    assert bench.value() == GIB
    bench.values.clear()
    bench.run(6)
    assert bench.value() is None


def test_nothing_stays_frozen_by_an_earlier_daemon() -> None:
    bench = Bench(Script(lease=5 * SEC))
    bench.engine.adopt(bench.world().subjects[1], "script", {"Freeze": True}, bench.now_usec)
    bench.run(4)
    assert bench.value("Freeze") is True
    bench.run(2)
    assert bench.value("Freeze") is None


def test_freezing_is_a_limit_and_thawing_needs_no_budget() -> None:
    def script(turn: int, _member: Member) -> Decision | None:
        return Decision(inode=1, reason="ice", act=Freeze(frozen=turn == 0), hold_usec=60 * SEC) if turn < 2 else None

    bench = Bench(Script(script=script), per_minute=1)
    bench.step()
    assert bench.value("Freeze") is True
    assert bench.outcome.orders == ()
    bench.step()
    assert bench.value("Freeze") is None


# -- fails


def test_a_controller_that_raises_loses_its_turn_only() -> None:
    def bad(turn: int, _member: Member) -> Decision | None:
        if turn == 1:
            raise ZeroDivisionError("planted")
        return cap() if turn == 0 else None

    other = OtherScript(script=counting)
    bench = Bench(Script(script=bad), other)
    bench.step()
    steps = {(step.kind, step.controller) for step in bench.step()}
    assert steps == {(StepKind.FAILED, "script"), (StepKind.DECIDED, "other")}
    assert bench.value() == GIB  # what is in force stays until its lease ends
    assert bench.engine.state("script", 1) is None
    assert bench.engine.state("other", 1) == 2
    assert "planted" in next(step.reason for step in bench.steps if step.kind is StepKind.FAILED)


def test_one_that_fails_for_good_loses_its_limits() -> None:
    def bad(_turn: int, member: Member) -> Decision | None:
        if member.current[HIGH] == GIB:
            raise ValueError("planted")
        return cap()

    bench = Bench(Script(script=bad, lease=5 * SEC))
    bench.run(6)
    assert bench.value() is None


def test_a_joint_controller_that_fails_for_good_loses_its_limits() -> None:
    def bad(turn: int, _scene: Scene) -> tuple[Decision, ...]:
        if turn:
            raise ValueError("planted")
        return (cap(),)

    bench = Bench(Meeting(script=bad, lease=5 * SEC), Script(script=counting))
    bench.step()
    bench.controls["meeting"] = Control.of(Meeting(script=_always_raise, lease=5 * SEC))
    bench.run(8)
    assert [wish.controller for wish in bench.engine.wishes(1)] == ["script"]


def _always_raise(_turn: int, _scene: Scene) -> tuple[Decision, ...]:
    raise ValueError("planted")


def test_garbage_is_a_failure_too() -> None:
    bench = Bench(Script(script=lambda _turn, _member: "nonsense"))  # type: ignore[arg-type,return-value]
    assert [step.kind for step in bench.step()] == [StepKind.FAILED]

    def lazy(_turn: int, _scene: Scene) -> Iterator[Decision]:
        yield cap()
        raise ValueError("planted")

    bench = Bench(Meeting(script=lazy))  # type: ignore[arg-type]
    assert [step.kind for step in bench.step()] == [StepKind.FAILED]
    assert bench.value() is None


# -- together


def test_a_joint_controller_sees_all_and_acts_on_those_that_opted_in() -> None:
    mine = Meeting(script=lambda _turn, _scene: (cap(1), cap(2)))
    bench = Bench(mine, count=3)
    bench.engine.step(bench.world())
    assert set(mine.scenes[0].members) == {1, 2, 3}
    assert (bench.value(inode=1), bench.value(inode=3)) == (GIB, None)
    assert mine.scenes[0].dt_sec == 0
    bench.step(2)
    assert mine.scenes[1].dt_sec == 2


def test_a_joint_controller_is_stepped_as_often_as_it_wants() -> None:
    mine = SlowMeeting()
    bench = Bench(mine)
    bench.run(11)
    assert len(mine.scenes) == 3


def test_fast_steps_are_for_the_fast_and_leave_the_others_alone() -> None:
    slow, fast = Script(script=once(cap())), FastScript()
    bench = Bench(slow, fast, count=2)
    bench.step()
    for _ in range(5):
        bench.inodes = [2]
        bench.step(0.1, fast=True)
    bench.inodes = [1, 2]
    assert bench.value(inode=1) == GIB
    assert len(slow.seen) == 2
    assert len(fast.seen) == 2 + 5


def test_two_wishes_about_one_limit_name_the_loser() -> None:
    bench = Bench(Script(script=once(cap(value=GIB))), OtherScript(script=once(cap(value=2 * GIB))))
    bench.step()
    setting = bench.engine.combined(1).settings[HIGH]
    assert setting.value == GIB
    assert setting.overrides == (f"control:other={2 * GIB}",)
    bench.controls.pop("script")
    bench.step()
    assert bench.value() == 2 * GIB
