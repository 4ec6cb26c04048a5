from __future__ import annotations

import asyncio

import pytest

from governor.bus.bucket import TokenBucket


async def test_a_burst_is_not_delayed_and_then_the_rate_holds() -> None:
    bucket = TokenBucket(50, 10)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(10):
        await bucket.take()
    assert loop.time() - started < 0.05
    for _ in range(10):
        await bucket.take()
    assert 0.18 <= loop.time() - started < 0.6


async def test_it_fills_up_again_but_not_above_the_burst() -> None:
    bucket = TokenBucket(100, 2)
    for _ in range(2):
        await bucket.take()
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(4):
        await bucket.take()
    assert loop.time() - started >= 0.015


async def test_waiters_are_served_in_turn() -> None:
    bucket, order = TokenBucket(200, 1), list[int]()

    async def take(number: int) -> None:
        await bucket.take()
        order.append(number)

    await asyncio.gather(*(take(number) for number in range(6)))
    assert order == list(range(6))


async def test_who_gives_up_waiting_takes_nothing() -> None:
    bucket = TokenBucket(10, 1)
    await bucket.take()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bucket.take(), 0.01)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bucket.take()
    assert loop.time() - started < 0.15


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_never_fills_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        TokenBucket(rate, burst)
