"""A token bucket: how often something may be done, with room for a burst."""

from __future__ import annotations

import asyncio


class TokenBucket:
    """At most `rate_per_sec` takes a second in the long run, `burst` of them at once. Waiters are served in turn."""

    def __init__(self, rate_per_sec: float, burst: int) -> None:
        if rate_per_sec <= 0 or burst < 1:
            raise ValueError(f"rate {rate_per_sec} and burst {burst} must be positive")
        self._rate = rate_per_sec
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_sec = 0.0
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Return once one more may be done."""
        async with self._turn:
            self._fill()
            if self._tokens < 1.0:
                await asyncio.sleep((1.0 - self._tokens) / self._rate)
                self._fill()
            self._tokens -= 1.0

    def _fill(self) -> None:
        now_sec = asyncio.get_running_loop().time()
        self._tokens = min(self._burst, self._tokens + (now_sec - self._filled_sec) * self._rate)
        self._filled_sec = now_sec
