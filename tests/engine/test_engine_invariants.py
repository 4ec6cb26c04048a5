"""Whatever controllers decide, in whatever order: what the engine promises holds after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from governor.model.control import Control, Decision, Freeze, Member, Reclaim
from governor.model.policy import Mode
from governor.model.step import StepKind
from tests.engine.planted import GIB, HIGH, PSI, SEC, Bench, OtherScript, Script, expecting

if TYPE_CHECKING:
    from collections.abc import Callable

_decisions = st.one_of(
    st.none(),
    st.just("raise"),
    st.builds(
        Decision,
        inode=st.sampled_from((1, 2, 3)),
        reason=st.just("because"),
        limits=st.dictionaries(
            st.sampled_from((HIGH, "MemoryMax", "CPUWeight")), st.one_of(st.none(), st.integers(1, 20)), max_size=2
        ),
        act=st.sampled_from((None, None, Reclaim(size_bytes=1), Freeze(frozen=True), Freeze(frozen=False))),
        expect=st.sampled_from(((), expecting(), expecting(gain=0.9))),
        hold_usec=st.sampled_from((0, 0, 3 * SEC)),
    ),
)
_turns = st.lists(
    st.tuples(_decisions, _decisions, st.floats(0, 1), st.sampled_from(("", "blind", "gone", "unasked", "observe"))),
    min_size=1,
    max_size=25,
)


def _scripted(now: list[Decision | str | None]) -> Callable[[int, Member], Decision | None]:
    def script(_turn: int, _member: Member) -> Decision | None:
        if isinstance(now[0], str):
            raise TypeError("planted")
        return now[0]

    return script


@settings(max_examples=150, deadline=None)
@given(_turns, st.integers(0, 6))
def test_whatever_happens(
    turns: list[tuple[Decision | str | None, Decision | str | None, float, str]], per_minute: int
) -> None:
    mine, others = list[Decision | str | None]([None]), list[Decision | str | None]([None])
    controllers = (
        Script(script=_scripted(mine), lease=5 * SEC, min={HIGH: 5}, max={HIGH: 15}),
        OtherScript(script=_scripted(others), lease=5 * SEC),
    )
    bench = Bench(*controllers, per_minute=per_minute)
    bench.base = {HIGH: GIB, "MemoryMax": 10}
    for one, two, pressure, event in turns:
        mine[0], others[0] = one, two
        bench.values = {} if event == "blind" else {PSI: pressure}
        bench.inodes = [] if event == "gone" else [1, 2]
        mode = Mode.OBSERVE if event == "observe" else Mode.ENFORCE
        bench.controls = {} if event == "unasked" else {c.name: Control.of(c, mode=mode) for c in controllers}
        bench.step()
        _check(bench, event)
    bench.engine.release(bench.now_usec, "end")
    assert all(bench.engine.combined(inode).settings == {} for inode in (1, 2, 3))


def _check(bench: Bench, event: str) -> None:
    engine = bench.engine
    for inode in (1, 2, 3):
        found = engine.combined(inode)
        wished = {name for wish in engine.wishes(inode) for name in wish.limits}
        assert found.settings.keys() | found.observed.keys() == wished
        assert all(wish.until_usec >= bench.now_usec for wish in engine.wishes(inode))
        if event in ("gone", "unasked", "observe"):
            assert not found.settings
        if (highest := found.settings.get("MemoryMax")) is not None:
            assert isinstance(highest.value, int)
            assert highest.value <= 10
        for wish in engine.wishes(inode):
            assert wish.control == bench.controls[wish.controller]
    for step in bench.outcome.orders:
        assert (step.kind, step.mode) == (StepKind.DECIDED, Mode.ENFORCE)
    counted = [
        step
        for step in bench.steps
        if step.kind is StepKind.DECIDED
        and step.time_usec > bench.now_usec - 60 * SEC
        and step.mode is Mode.ENFORCE
        and any(value is not None for value in step.limits.values())
    ]
    assert len(counted) <= engine.budget.per_minute
