"""How often: the host's budget of actions a minute, and the silence after what did not help."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from governor.model.policy import Mode

MINUTE_USEC: Final = 60_000_000
_MOST_DOUBLINGS: Final = 10


class Budget:
    """At most `per_minute` actions in any minute, whoever asks for them.

    What only observes has a budget of its own, as large: it must not use up that of what acts.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._taken: dict[Mode, deque[int]] = {mode: deque() for mode in Mode}

    def take(self, now_usec: int, mode: Mode = Mode.ENFORCE) -> bool:
        """Return whether one more action may be taken now, and count it."""
        taken = self._taken[mode]
        while taken and taken[0] <= now_usec - MINUTE_USEC:
            taken.popleft()
        if len(taken) >= self.per_minute:
            return False
        taken.append(now_usec)
        return True


@dataclass(slots=True)
class Silence:
    """Which controller must leave which container alone until when. Each failure doubles the silence."""

    _until: dict[tuple[str, int], int] = field(default_factory=dict)
    _failures: dict[tuple[str, int], int] = field(default_factory=dict)

    def begin(self, controller: str, inode: int, cooldown_usec: int, now_usec: int) -> int:
        """Silence `controller` for the container and return for how many µs."""
        key = (controller, inode)
        length = cooldown_usec << min(self._failures.get(key, 0), _MOST_DOUBLINGS)
        self._failures[key] = self._failures.get(key, 0) + 1
        self._until[key] = now_usec + length
        return length

    def helped(self, controller: str, inode: int) -> None:
        """Forget the failures: an action has helped."""
        self._failures.pop((controller, inode), None)

    def holds(self, controller: str, inode: int, now_usec: int) -> bool:
        """Return whether `controller` must not act on the container now."""
        return self._until.get((controller, inode), 0) > now_usec

    def forget(self, inode: int) -> None:
        """Drop what is known of a container that ended."""
        for known in (self._until, self._failures):
            for key in [key for key in known if key[1] == inode]:
                del known[key]
