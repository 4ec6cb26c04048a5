"""Small controllers that do one thing each, and a world to step them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from governor.engine.engine import Engine
from governor.engine.world import Outcome, Subject, World
from governor.model.control import Control, Controller, Decision, Expect, Joint, Member, Scene, Solo
from governor.model.policy import Mode
from governor.model.signal import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.model.policy import Setting
    from governor.model.step import Step
    from governor.model.values import Value

SEC = 1_000_000
GIB = 1 << 30
PSI = "pressure.memory.some"
HIGH = "MemoryHigh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script(Solo):
    """Decides what `script` says of a step; `seen` keeps what it was shown."""

    name: ClassVar[str] = "script"
    properties: ClassVar[tuple[str, ...]] = (HIGH,)
    signals: ClassVar[tuple[str, ...]] = (PSI,)

    script: Callable[[int, Member], Decision | None] = field(default=lambda _turn, _member: None)
    seen: list[Member] = field(default_factory=list)

    def start(self) -> int:
        return 0

    def step(self, state: Any, member: Member, dt_sec: float) -> tuple[Any, Decision | None]:
        assert dt_sec >= 0
        self.seen.append(member)
        return state + 1, self.script(state, member)


class OtherScript(Script):
    name = "other"


class FastScript(Script):
    name = "fast"
    interval_usec = SEC // 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting(Joint):
    """Decides what `script` says of a scene."""

    name: ClassVar[str] = "meeting"
    signals: ClassVar[tuple[str, ...]] = (PSI,)

    script: Callable[[int, Scene], tuple[Decision, ...]] = field(default=lambda _turn, _scene: ())
    scenes: list[Scene] = field(default_factory=list)

    @classmethod
    def start_all(cls) -> int:
        return 0

    @classmethod
    def step_all(cls, state: Any, scene: Scene) -> tuple[Any, tuple[Decision, ...]]:
        mine = next(iter(scene.members.values()))[1]
        assert isinstance(mine, Meeting)
        mine.scenes.append(scene)
        return state + 1, mine.script(state, scene)


class SlowMeeting(Meeting):
    name = "slow-meeting"
    interval_usec = 5 * SEC


KINDS: tuple[type[Controller], ...] = (Script, OtherScript, FastScript, Meeting, SlowMeeting)


def cap(inode: int = 1, value: Value | None = GIB, **more: Any) -> Decision:
    return Decision(inode=inode, reason="because", limits={HIGH: value}, **more)


def expecting(gain: float = 0.1, after_usec: int = 4 * SEC, inode: int = 1) -> tuple[Expect, ...]:
    return (Expect(inode=inode, signal=PSI, gain=gain, after_usec=after_usec),)


def once(decision: Decision, turn: int = 0) -> Callable[[int, Member], Decision | None]:
    """Decide it in one turn only."""
    return lambda now, _member: decision if now == turn else None


def counting(turn: int, member: Member) -> Decision | None:
    """Decide something new in every turn."""
    return cap(member.inode, GIB + turn * 4096)


def whenever_allowed(turn: int, member: Member) -> Decision | None:
    """Cap, wherever that is not forbidden or done already."""
    quiet = turn < 2 or member.silenced or member.current[HIGH] == GIB
    return None if quiet else cap(expect=expecting())


class Bench:
    """An engine whose containers are described once and stepped second by second."""

    def __init__(self, *settings: Controller, per_minute: int = 100, mode: Mode = Mode.ENFORCE, count: int = 1) -> None:
        self.engine = Engine(per_minute, KINDS)
        self.now_usec = 100 * SEC
        self.steps: list[Step] = []
        self.outcome = Outcome()
        self.controls = {one.name: Control.of(one, mode=mode) for one in settings}
        self.inodes = list(range(1, count + 1))
        self.values: dict[str, float] = {PSI: 0.2}
        self.base: Mapping[str, Value] = {HIGH: 8 * GIB, "MemoryMax": 8 * GIB}
        self.settings: Mapping[str, Setting] = {}

    def step(self, seconds: float = 1, *, fast: bool = False) -> tuple[Step, ...]:
        """Go on by `seconds` and return what happened."""
        self.now_usec += int(seconds * SEC)
        self.outcome = self.engine.step(self.world(), fast=fast)
        self.steps += self.outcome.steps
        return self.outcome.steps

    def run(self, count: int) -> list[Step]:
        return [step for _ in range(count) for step in self.step()]

    def world(self) -> World:
        sample = Sample(time_usec=self.now_usec, values=dict(self.values))
        return World(
            now_usec=self.now_usec, host=sample, subjects={inode: self._subject(inode, sample) for inode in self.inodes}
        )

    def value(self, name: str = HIGH, inode: int = 1) -> Value | None:
        """Return what is enforced."""
        setting = self.engine.combined(inode).settings.get(name)
        return None if setting is None else setting.value

    def kinds(self) -> list[str]:
        return [str(step.kind) for step in self.steps]

    def _subject(self, inode: int, sample: Sample) -> Subject:
        held = {name: one.value for name, one in self.engine.combined(inode).settings.items()}
        return Subject(
            inode=inode,
            name=f"c{inode}",
            sample=sample,
            controls=self.controls,
            base=self.base,
            current={**self.base, **held},
            settings=self.settings,
        )
