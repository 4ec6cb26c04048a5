"""The engine with planted controllers: what is judged, kept, undone, silenced."""

from __future__ import annotations

import itertools
from dataclasses import replace

from governor.model.control import Control, Decision, Member, Reclaim
from governor.model.policy import Mode
from governor.model.step import StepKind
from tests.engine.planted import (
    GIB,
    HIGH,
    PSI,
    SEC,
    Bench,
    Script,
    cap,
    expecting,
    once,
    whenever_allowed,
)


def test_what_does_not_help_is_undone_and_silenced_twice_as_long_each_time() -> None:
    """A planted controller that makes things worse: its silences are 10 s, 20 s, 40 s."""
    mine = Script(script=whenever_allowed, cooldown=10 * SEC)
    bench = Bench(mine)
    decided = []
    for _ in range(120):
        steps = bench.step()
        bench.values[PSI] = 0.9 if bench.value() is not None else 0.2
        decided += [bench.now_usec // SEC for step in steps if step.kind is StepKind.DECIDED]
    undone = [step for step in bench.steps if step.kind is StepKind.UNDONE]
    silences = [later - earlier - 4 for earlier, later in itertools.pairwise(decided)]
    assert silences[:3] == [10, 20, 40]
    assert len(undone) == len(decided) == 4
    assert "silent for 40 s" in undone[2].reason
    assert f"{PSI} was 0.2, is 0.9" in undone[0].reason
    assert bench.value() is None


def test_what_helps_stays_and_is_forgiven() -> None:
    bench = Bench(Script(script=whenever_allowed, cooldown=10 * SEC))
    bench.run(3)
    bench.values[PSI] = 0.05
    bench.run(4)
    assert bench.kinds() == ["decided", "helped"]
    assert bench.value() == GIB


def test_a_success_ends_the_doubling() -> None:
    bench = Bench(Script(script=whenever_allowed, cooldown=10 * SEC))
    bench.run(7)
    assert bench.kinds() == ["decided", "undone"]
    bench.run(10)
    bench.values[PSI] = 0.01
    bench.run(4)
    assert bench.kinds()[2:] == ["decided", "helped"]
    assert bench.engine._silence.begin("script", 1, 10 * SEC, bench.now_usec) == 10 * SEC


def test_an_absent_signal_judges_nothing() -> None:
    bench = Bench(Script(script=once(cap(expect=expecting()), turn=3)))
    bench.run(4)
    bench.values.clear()
    bench.run(10)
    assert bench.kinds() == ["decided"]


def test_one_failed_expectation_is_enough() -> None:
    good = expecting(gain=0.0)
    bad = (replace(good[0], inode=0, gain=0.5),)
    bench = Bench(Script(script=once(cap(expect=(*good, *bad)), turn=3)))
    bench.run(10)
    assert bench.kinds() == ["decided", "undone"]


def test_good_enough_is_good_enough() -> None:
    lenient = (replace(expecting(gain=0.9)[0], good_enough=0.2),)
    bench = Bench(Script(script=once(cap(expect=lenient), turn=3)))
    bench.run(10)
    assert bench.kinds() == ["decided", "helped"]


def test_what_is_given_back_meanwhile_is_not_judged() -> None:
    def script(turn: int, _member: Member) -> Decision | None:
        return cap(expect=expecting()) if turn == 3 else cap(value=None) if turn == 4 else None

    bench = Bench(Script(script=script))
    bench.run(15)
    assert bench.kinds() == ["decided", "decided"]


def test_an_act_without_limits_is_judged_too() -> None:
    reclaim = Decision(inode=1, reason="cold", act=Reclaim(size_bytes=4096), expect=expecting(gain=0.5))
    bench = Bench(Script(script=once(reclaim, turn=3)))
    bench.run(4)
    assert [step.act for step in bench.outcome.orders] == [Reclaim(size_bytes=4096)]
    bench.run(5)
    assert bench.kinds() == ["decided", "undone"]
    assert bench.engine.wishes(1) == ()


def _tightens(turn: int, member: Member) -> Decision | None:
    """A good first step, and a second one that does harm."""
    if turn == 2:
        return cap(value=2 * GIB, expect=expecting())
    return cap(value=GIB, expect=expecting()) if turn == 10 and not member.silenced else None


def test_undoing_goes_back_to_what_stood_before() -> None:
    bench = Bench(Script(script=_tightens, lease=10 * SEC))
    bench.run(3)
    bench.values[PSI] = 0.05
    bench.run(8)
    assert (bench.kinds(), bench.value()) == (["decided", "helped", "decided"], GIB)
    bench.values[PSI] = 0.8
    bench.run(4)
    assert (bench.kinds()[-1], bench.value()) == ("undone", 2 * GIB)
    bench.run(20)
    assert bench.value() == 2 * GIB
    bench.values.clear()
    bench.run(11)
    assert bench.value() is None


def test_undoing_does_not_enforce_what_only_observes_by_now() -> None:
    mine = Script(script=_tightens)
    bench = Bench(mine)
    bench.run(3)
    bench.values[PSI] = 0.05
    bench.run(8)
    bench.values[PSI] = 0.8
    bench.run(3)
    bench.controls = {"script": Control.of(mine, mode=Mode.OBSERVE)}
    bench.step()
    assert (bench.kinds()[-1], bench.value()) == ("undone", None)
    assert bench.engine.combined(1).observed[HIGH].value == 2 * GIB
