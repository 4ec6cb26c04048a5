"""follow and restraint: what an action is judged by, the budget, the silences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.engine.follow import History, Verdict, begin, judge
from governor.engine.restraint import MINUTE_USEC, Budget, Silence
from governor.model.control import Control, Expect
from governor.model.policy import Mode
from governor.model.signal import Sample
from tests.engine.planted import PSI, SEC, Script, cap, expecting


def history(*values: tuple[int, float]) -> History:
    found = History()
    for second, value in values:
        found.add(Sample(time_usec=second * SEC, values={PSI: value}))
    return found


def test_means_are_of_the_second_half_and_as_long_before() -> None:
    past = {1: history(*((second, second / 100) for second in range(1, 15)))}
    followed = begin("script", Control.of(Script()), cap(expect=expecting(after_usec=4 * SEC)), 10 * SEC, past)
    assert followed.due_usec == 14 * SEC
    (verdict,) = judge(followed, past)
    assert verdict.before == pytest.approx((0.09 + 0.10) / 2)
    assert verdict.after == pytest.approx((0.13 + 0.14) / 2)
    assert verdict.failed


@pytest.mark.parametrize(
    ("before", "after", "gain", "good_enough", "failed"),
    [
        (0.2, 0.1, 0.5, 0.0, False),
        (0.2, 0.11, 0.5, 0.0, True),
        (0.2, 0.11, 0.5, 0.12, False),
        (0.2, 0.21, -0.1, 0.0, False),
        (0.2, 0.23, -0.1, 0.0, True),
        (0.0, 0.0, 0.5, 0.0, False),
        (None, 0.5, 0.5, 0.0, False),
        (0.5, None, 0.5, 0.0, False),
    ],
)
def test_a_verdict(before: float | None, after: float | None, gain: float, good_enough: float, *, failed: bool) -> None:
    expect = Expect(inode=1, signal=PSI, gain=gain, good_enough=good_enough)
    assert Verdict(expect, before, after).failed is failed


def test_one_sample_is_no_mean_and_old_ones_are_dropped() -> None:
    past = history((1, 0.5), (2, 0.7))
    assert past.mean(PSI, 0, 2 * SEC) == pytest.approx(0.6)
    assert past.mean(PSI, SEC, 2 * SEC) is None
    assert past.mean("cpu.usage", 0, 2 * SEC) is None
    past.add(Sample(time_usec=100 * SEC))
    assert past.mean(PSI, 0, 2 * SEC) is None


@given(st.integers(0, 5), st.lists(st.integers(0, MINUTE_USEC // 2), max_size=30))
def test_no_minute_has_more_actions_than_the_budget(per_minute: int, pauses: list[int]) -> None:
    budget, now, taken = Budget(per_minute), 0, []
    for pause in pauses:
        now += pause
        if budget.take(now):
            taken.append(now)
        budget.take(now, Mode.OBSERVE)
    for start in taken:
        assert sum(start <= moment < start + MINUTE_USEC for moment in taken) <= per_minute
    assert not pauses or not per_minute or taken


def test_silences_double_up_to_an_end_and_are_of_one_container() -> None:
    silence = Silence()
    lengths = [silence.begin("a", 1, SEC, 0) // SEC for _ in range(14)]
    assert lengths[:4] == [1, 2, 4, 8]
    assert lengths[-1] == lengths[-2] == 1024
    assert silence.holds("a", 1, 1023 * SEC)
    assert not silence.holds("a", 1, 1024 * SEC)
    assert not silence.holds("b", 1, 0)
    assert not silence.holds("a", 2, 0)
    silence.helped("a", 1)
    assert silence.begin("a", 1, SEC, 0) == SEC
    silence.forget(1)
    assert not silence.holds("a", 1, 0)
