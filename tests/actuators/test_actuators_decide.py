"""The rules of ownership, one by one and then all together under any order of events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from governor.actuators.decide import Move, Step, View, decide
from governor.model.lease import Hold, Lease
from governor.model.policy import Setting

if TYPE_CHECKING:
    from governor.model.values import Value

NAME = "MemoryHigh"


def setting(value: Value, source: str = "policy:a") -> Setting:
    return Setting(value=value, source=source, reason="test")


def view(
    current: Value,
    want: Value | None = None,
    lease: Lease | None = None,
    *,
    source: str = "policy:a",
    settling: bool = False,
    reverted: bool = False,
    new_invocation: bool = False,
) -> View:
    return View(
        property=NAME,
        current=current,
        want=want,
        setting=None if want is None else setting(want, source),
        lease=lease,
        restores=current,
        now_usec=7,
        settling=settling,
        reverted=reverted,
        new_invocation=new_invocation,
    )


def held(original: Value = 100, intended: Value = 50, applied: Value | None = 50) -> Lease:
    return Lease(
        property=NAME,
        original=original,
        restores=original,
        intended=intended,
        applied=applied,
        owner="policy:a",
        reason="test",
        since_usec=1,
    )


def test_the_first_write_records_the_original_and_both_values_that_may_be_found_after_a_crash() -> None:
    move = decide(view(100, 50))
    assert move.step is Step.WRITE
    assert move.lease is not None
    assert (move.lease.original, move.lease.intended, move.lease.applied) == (100, 50, 100)
    assert move.lease.ours(100)
    assert move.lease.ours(50)
    assert not move.lease.ours(70)


def test_a_value_that_is_there_already_is_leased_without_a_write() -> None:
    move = decide(view(50, 50))
    assert (move.step, move.value) == (Step.CONFIRM, None)
    assert move.lease is not None
    assert move.lease.original == 50


def test_nothing_wanted_and_nothing_leased_is_nothing_to_do() -> None:
    assert decide(view(100)) == Move(step=Step.KEEP, lease=None)


def test_what_stands_as_leased_is_left_alone() -> None:
    assert decide(view(50, 50, held())).step is Step.KEEP


def test_another_policy_that_wants_the_same_takes_the_lease_over_without_a_write() -> None:
    move = decide(view(50, 50, held(), source="policy:b"))
    assert move.step is Step.CONFIRM
    assert move.lease is not None
    assert (move.lease.owner, move.lease.original, move.lease.since_usec) == ("policy:b", 100, 7)


def test_the_original_comes_back_when_nothing_wants_the_limit_any_more() -> None:
    move = decide(view(50, None, held()))
    assert (move.step, move.value) == (Step.RESTORE, 100)
    assert move.lease is not None
    assert move.lease.ours(50)
    assert move.lease.ours(100)


def test_a_lease_whose_original_was_wanted_and_is_there_just_ends() -> None:
    assert decide(view(100, None, held(applied=100, intended=100))) == Move(step=Step.FORGET, lease=None)


def test_a_persistent_units_lease_does_not_end_before_its_drop_in_is_gone() -> None:
    """The values come back first; who is cut off between the two must take the second step when it comes again."""
    again = replace(view(100, None, held(applied=100, intended=100)), persistent=True)
    move = decide(again)
    assert (move.step, move.value) == (Step.RESTORE, 100)
    assert move.lease is not None
    assert move.lease.intended == move.lease.original


def test_feedback_never_takes_up_what_has_yielded() -> None:
    yielded = replace(held(), hold=Hold.YIELDED)
    assert decide(view(70, 40, yielded, source="control:cpu-throttle")).step is Step.KEEP
    assert decide(view(70, 40, yielded, source="control:cpu-throttle", new_invocation=True)).step is Step.WRITE


def test_a_write_that_never_arrived_is_taken_back_too() -> None:
    """systemd may hold a value that the kernel refused: it would come with the next occasion."""
    move = decide(view(100, None, held(applied=100)))
    assert (move.step, move.value) == (Step.RESTORE, 100)


def test_somebody_elses_change_is_yielded_to_and_never_restored_over() -> None:
    move = decide(view(70, 50, held()))
    assert move.step is Step.YIELD
    assert move.lease is not None
    assert move.lease.hold is Hold.YIELDED
    assert decide(view(70, 50, move.lease)).step is Step.KEEP
    assert decide(view(70, None, move.lease)) == Move(step=Step.FORGET, lease=None)
    assert decide(view(70, None, held())) == Move(step=Step.FORGET, lease=None)


def test_a_yielded_property_is_taken_up_again_for_a_changed_policy_or_a_new_invocation() -> None:
    yielded = replace(held(), hold=Hold.YIELDED)
    for again in (
        view(70, 40, yielded),
        view(70, 50, yielded, source="policy:b"),
        view(70, 50, yielded, new_invocation=True),
    ):
        move = decide(again)
        assert move.step is Step.WRITE
        assert move.lease is not None
        assert (move.lease.original, move.lease.hold) == (70, Hold.HELD)


def test_until_the_payload_runs_the_runtimes_writes_are_the_baseline() -> None:
    move = decide(view(80, 50, held(), settling=True))
    assert move.step is Step.WRITE
    assert move.lease is not None
    assert move.lease.original == 80


def test_a_daemon_reload_that_brought_the_original_back_is_no_foreign_change() -> None:
    move = decide(view(100, 50, held(), reverted=True))
    assert move.step is Step.WRITE
    assert move.lease is not None
    assert move.lease.original == 100
    assert decide(view(70, 50, held(), reverted=True)).step is Step.YIELD


def test_two_interrupted_writes_leave_no_value_that_is_not_known_as_ours() -> None:
    first = decide(view(100, 50)).lease
    assert first is not None
    second = decide(view(50, 40, first)).lease
    assert second is not None
    assert second.ours(50)
    assert second.ours(40)
    assert second.original == 100


class Host(RuleBasedStateMachine):
    """One property under policies that come and go, crashes at every point, and somebody else's hand."""

    def __init__(self) -> None:
        super().__init__()
        self.current: Value = 1000
        self.original: Value = 1000
        self.lease: Lease | None = None
        self.want: Value | None = None
        self.source = "policy:a"

    def step(self, *, dies: str = "") -> None:
        move = decide(view(self.current, self.want, self.lease, source=self.source))
        if move.step is Step.KEEP:
            return
        self.lease = move.lease
        if dies == "before the write" or move.lease is None:
            return
        if move.value is not None:
            self.current = move.value
        if dies == "after the write":
            return
        if move.step is Step.RESTORE:
            self.lease = None
        elif move.step is Step.WRITE:
            self.lease = replace(move.lease, applied=move.lease.intended)

    @rule(value=st.integers(1, 5), source=st.sampled_from(["policy:a", "policy:b"]))
    def policy(self, value: int, source: str) -> None:
        self.want, self.source = value, source

    @rule()
    def no_policy(self) -> None:
        self.want = None

    @rule()
    def tick(self) -> None:
        self.step()

    @rule(dies=st.sampled_from(["before the write", "after the write"]))
    def crash(self, dies: str) -> None:
        self.step(dies=dies)

    @rule(value=st.integers(2000, 2005))
    def somebody_else(self, value: int) -> None:
        self.current = self.original = value

    @invariant()
    def stopping_leaves_what_others_put_there(self) -> None:
        end = Host.__new__(Host)
        end.current, end.lease, end.want, end.source = self.current, self.lease, None, self.source
        end.step()
        assert end.current == self.original
        assert end.lease is None


TestHost = Host.TestCase
TestHost.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)


@given(current=st.integers(1, 4), want=st.none() | st.integers(1, 4), applied=st.none() | st.integers(1, 4))
def test_every_write_is_under_a_lease_that_knows_it(current: int, want: int | None, applied: int | None) -> None:
    move = decide(view(current, want, held(original=9, intended=3, applied=applied)))
    if move.value is not None:
        assert move.lease is not None
        assert move.lease.ours(current)
        assert move.lease.intended == move.value
