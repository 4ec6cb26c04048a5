"""Do no harm, measured: an action's signals before and after it are compared, and what did not help is taken back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from governor.engine.combine import Wish
    from governor.model.control import Control, Decision, Expect
    from governor.model.signal import Sample

KEPT_USEC: Final = 60_000_000
"""How far back samples are remembered."""
_LEAST_SAMPLES: Final = 2


class History:
    """The last minute of one container's samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """Remember `sample`, and drop what is older than a minute."""
        self._samples.append(sample)
        while self._samples[0].time_usec < sample.time_usec - KEPT_USEC:
            self._samples.popleft()

    def mean(self, signal: str, start_usec: int, end_usec: int) -> float | None:
        """Return the mean of `signal` in (start, end]; None where fewer than two samples have it."""
        found = [
            value
            for sample in self._samples
            if start_usec < sample.time_usec <= end_usec and (value := sample.get(signal)) is not None
        ]
        return sum(found) / len(found) if len(found) >= _LEAST_SAMPLES else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an action is judged by one expectation. `before` and `after` are means; None where the signal was absent."""

    expect: Expect
    before: float | None
    after: float | None

    @property
    def failed(self) -> bool:
        """Whether the action did not do what was expected of it. An absent signal judges nothing."""
        if self.before is None or self.after is None:
            return False
        return self.after > max(self.before * (1 - self.expect.gain), self.expect.good_enough)

    def __str__(self) -> str:
        before, after = (("unknown" if value is None else f"{value:.4g}") for value in (self.before, self.after))
        wanted = f"at most {max((self.before or 0.0) * (1 - self.expect.gain), self.expect.good_enough):.4g}"
        return f"{self.expect.signal} was {before}, is {after}, {wanted} was expected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One action under observation."""

    controller: str
    control: Control
    inode: int
    at_usec: int
    reason: str
    before: tuple[tuple[Expect, float | None], ...]
    wish: Wish | None = None
    """What the controller wanted before it, and wants again where the action is taken back."""

    @property
    def due_usec(self) -> int:
        """When all of its expectations can be judged."""
        return self.at_usec + max(expect.after_usec for expect, _ in self.before)


def begin(
    controller: str,
    control: Control,
    decision: Decision,
    at_usec: int,
    history: dict[int, History],
    wish: Wish | None = None,
) -> Followed:
    """Return the action with the means of its signals over as long a time before it as it will be judged by."""
    return Followed(
        controller=controller,
        control=control,
        inode=decision.inode,
        at_usec=at_usec,
        reason=decision.reason,
        wish=wish,
        before=tuple(
            (expect, _mean(history, expect, at_usec - expect.after_usec // 2, at_usec)) for expect in decision.expect
        ),
    )


def judge(followed: Followed, history: dict[int, History]) -> tuple[Verdict, ...]:
    """Return one verdict for each expectation, by the second half of the time that it was given."""
    return tuple(
        Verdict(
            expect,
            before,
            _mean(history, expect, followed.at_usec + expect.after_usec // 2, followed.at_usec + expect.after_usec),
        )
        for expect, before in followed.before
    )


def _mean(history: dict[int, History], expect: Expect, start_usec: int, end_usec: int) -> float | None:
    samples = history.get(expect.inode)
    return samples.mean(expect.signal, start_usec, end_usec) if samples is not None else None
