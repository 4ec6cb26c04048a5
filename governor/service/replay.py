"""What policies would have done, had they been in force while a recording was made.

Nothing that was recorded changes because of a simulated action: so every control only observes here, and is neither
judged nor undone. A controller sees the limits that it would have set, and the signals as they were.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from governor.engine.engine import Engine
from governor.engine.world import Subject, World
from governor.kernel.canonical import canonical_set
from governor.model.errors import ActuationError
from governor.model.policy import HostSettings, Mode, Policy
from governor.policy.merge import Merged, merge
from governor.policy.parse import parse_policy
from governor.service.playback import Bounds, Playback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.model.container import Container
    from governor.model.errors import Problem
    from governor.model.step import Step
    from governor.model.values import Value
    from governor.service.playback import Frame, Recorded

REMOTE: Final = Bounds(unpacked_bytes=256 * 1024**2, line_bytes=2 * 1024**2, containers=2000, values=200_000, keys=2000)
"""For a recording that came over the bus: what the daemon can spare."""
REMOTE_SEC: Final = 20.0
"""A client waits 25 s for an answer (D-Bus's default)."""
REMOTE_STEPS: Final = 20_000
Row = tuple[int, str, str, str, str]
"""Wall time in µs, the container's id, controller, kind, reason."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One tick of a replay: what was recorded, what the engine did, and which limits each container would hold."""

    frame: Frame
    steps: tuple[Step, ...]
    limits: Mapping[int, Mapping[str, Value]]


@dataclass(slots=True)
class _Governed:
    """What the policies come to for one container, and the values that this depends on."""

    container: Container
    merged: Merged
    recorded: Recorded | None = None
    base: Mapping[str, Value] = field(default_factory=dict)


class Replay:
    """Steps the engine over a recording, as fast as it can be read."""

    def __init__(self, policies: Sequence[Policy], playback: Playback, settings: HostSettings | None = None) -> None:
        self._policies = policies
        self._playback = playback
        self._engine = Engine((settings or HostSettings()).actions_per_minute)
        self._governed: dict[int, _Governed] = {}
        self.seen: dict[int, Container] = {}
        """Every container of the recording so far, by inode."""
        self.merged: dict[int, Merged] = {}
        """What the policies come to for each."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Policies that contradict each other on a container, each once."""
        return tuple(dict.fromkeys(problem for merged in self.merged.values() for problem in merged.problems))

    @property
    def started_usec(self) -> int:
        """When the recording began, as its ticks count."""
        return self._playback.header.monotonic_usec

    @property
    def hostname(self) -> str:
        """The host that was recorded."""
        return self._playback.header.hostname

    def moments(self) -> Iterator[Moment]:
        """Yield every tick of the recording with what would have been done in it."""
        for frame in self._playback.frames():
            for inode in self._governed.keys() - frame.containers.keys():
                del self._governed[inode]
                self._engine.forget(inode)
            subjects = {inode: self._subject(recorded) for inode, recorded in frame.containers.items()}
            outcome = self._engine.step(World(now_usec=frame.time_usec, host=frame.host, subjects=subjects))
            yield Moment(frame, outcome.steps, {inode: self._limits(inode) for inode in subjects})

    def wall_usec(self, time_usec: int) -> int:
        """Return the wall time of a moment of the recording, in µs since the epoch."""
        return self._playback.header.started_usec + time_usec - self._playback.header.monotonic_usec

    def _limits(self, inode: int) -> Mapping[str, Value]:
        observed = self._engine.combined(inode).observed
        base = self._governed[inode].base
        return {**base, **{name: setting.value for name, setting in observed.items()}} if observed else base

    def _subject(self, recorded: Recorded) -> Subject:
        governed = self._look(recorded)
        return Subject(
            inode=recorded.container.inode,
            name=recorded.container.name,
            sample=recorded.sample,
            controls=governed.merged.controls,
            base=governed.base,
            current=governed.base,
            settings=governed.merged.settings,
        )

    def _look(self, recorded: Recorded) -> _Governed:
        """Return what the policies come to, worked out anew where the container or its recorded limits are others."""
        container, inode = recorded.container, recorded.container.inode
        governed = self._governed.get(inode)
        if governed is None or governed.container is not container:
            governed = self._governed[inode] = _Governed(container, self._merge(container))
            self.seen[inode], self.merged[inode] = container, governed.merged
        last = governed.recorded
        if last is None or last.limits is not recorded.limits or last.originals is not recorded.originals:
            governed.base = self._base(recorded, governed.merged)
        governed.recorded = recorded
        return governed

    def _merge(self, container: Container) -> Merged:
        header = self._playback.header
        return merge(self._policies, container, host_mode=Mode.OBSERVE, previous={}, users=header.users)

    def _base(self, recorded: Recorded, merged: Merged) -> Mapping[str, Value]:
        """Return what the container would hold without feedback: the policies' limits over what it had originally."""
        static: dict[str, Value] = {}
        for name, setting in merged.settings.items():
            try:
                static |= canonical_set({**static, name: setting.value}, self._playback.header.host)
            except ActuationError:  # a device or CPU that the recorded host did not have
                continue
        return {**recorded.limits, **recorded.originals, **static}


def simulate(policies: Sequence[Policy], playback: Playback) -> list[Step]:
    """Return all that `policies` would have done over a recording."""
    return [step for moment in Replay(policies, playback).moments() for step in moment.steps]


def simulate_remotely(policy: str, recording: bytes) -> tuple[list[Row], str]:
    """Return what one policy, given as text, would have done, and what of it is missing ("" where nothing is).

    For a worker thread: bounded in memory, answer and time. Raises PolicyError and NotARecording.
    """
    parsed = parse_policy(policy, name="simulated", file="<policy>", default_mode=Mode.OBSERVE)
    playback = Playback(io.BytesIO(recording), REMOTE)
    replay, rows = Replay([parsed], playback), list[Row]()
    deadline = time.monotonic() + REMOTE_SEC
    for moment in replay.moments():
        rows += [_row(replay, step) for step in moment.steps]
        if len(rows) > REMOTE_STEPS:
            return rows[:REMOTE_STEPS], f"more than {REMOTE_STEPS} steps: use governorctl simulate"
        if time.monotonic() > deadline:
            return rows, f"it takes more than {REMOTE_SEC:.0f} s: use governorctl simulate"
    return rows, playback.warning


def _row(replay: Replay, step: Step) -> Row:
    container = replay.seen.get(step.inode)
    name = container.id if container is not None else ""
    return replay.wall_usec(step.time_usec), name, step.controller, str(step.kind), step.reason
