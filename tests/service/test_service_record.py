"""When a container is looked at again."""

from __future__ import annotations

from governor.model.tick import Outcome
from governor.service.record import LONGEST_PAUSE_SEC, Record


def test_what_fails_is_tried_ever_more_seldom() -> None:
    record, now, pauses = Record(since=0.0), 0.0, []
    for _ in range(10):
        record.finished([Outcome.APPLIED, Outcome.FAILED], now)
        assert record.again_at is not None
        assert not record.due(now)
        pauses.append(record.again_at - now)
        now = record.again_at
        assert record.due(now)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1.0
    assert pauses[-1] == LONGEST_PAUSE_SEC
    assert not record.blind(now)


def test_what_converges_is_looked_at_with_each_tick() -> None:
    record = Record(since=0.0)
    record.finished([Outcome.CONVERGING], 5.0)
    assert record.due(5.0)
    record.finished([Outcome.APPLIED], 6.0)
    assert not record.due(100.0)


def test_a_round_that_broke_off_trusts_no_file_until_it_is_tried_again() -> None:
    record = Record(since=0.0)
    record.broke_off(10.0)
    assert record.blind(10.5)
    assert not record.due(10.5)
    assert record.due(11.0)
    assert not record.blind(11.0)
    record.finished([], 11.0)
    assert record.failures == 0
