"""Feedback: what a controller sees, what it may decide, and what its table in a policy may say.

A controller is a frozen dataclass: its fields are its TOML keys, its methods decide. It has no clock, does no I/O and
keeps no state of its own: state goes in and comes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from governor.model.policy import Mode
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.errors import Position
    from governor.model.signal import Sample
    from governor.model.values import Value

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Takes(StrEnum):
    """How the value of a controller's key is spelled in TOML."""

    RATIO = "ratio"
    """A number, or a percentage as text: 0.05 or "5%"."""
    TIMESPAN = "timespan"
    """As systemd spells it: "5min"; a plain number is seconds. The field holds µs."""
    BYTES = "bytes"
    """As in MemoryHigh=: "64M". The field holds bytes."""
    COUNT = "count"
    """A whole number."""
    BOOLEAN = "boolean"
    CHOICE = "choice"
    LIMITS = "limits"
    """A table of directives: { CPUQuota = "50%" }. The field holds values by D-Bus property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What the parser, the schema and the reference need to know of one field. `low` and `high` are inclusive."""

    takes: Takes
    summary: str
    example: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def key(
    default: Any,
    takes: Takes,
    summary: str,
    example: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Return the dataclass field of one TOML key: its default and what the parser needs to know of it."""
    info = KeyInfo(takes=takes, summary=summary, example=example, low=low, high=high, choices=choices)
    if takes is Takes.LIMITS:
        return field(default_factory=lambda: default, metadata={"key": info})
    return field(default=default, metadata={"key": info})


def keys_of(kind: type[Controller]) -> Mapping[str, KeyInfo]:
    """Return the TOML keys of a controller, in the order of its fields."""
    return {one.name: one.metadata["key"] for one in fields(kind) if "key" in one.metadata}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """What every controller's table has. A subclass adds its own keys, `name` and what it reads and moves."""

    name: ClassVar[str] = ""
    """The stem of its file with dashes: its name in TOML, in metrics and in the journal."""
    summary: ClassVar[str] = ""
    properties: ClassVar[tuple[str, ...]] = ()
    """D-Bus properties that it may move; their values are in Member.current and Member.base."""
    reads: ClassVar[tuple[str, ...]] = ()
    """More properties that it only looks at: they are in Member.current and Member.base, too."""
    signals: ClassVar[tuple[str, ...]] = ()
    """Signals that it reads, of containers and host; only what somebody reads is measured."""
    interval_usec: ClassVar[int] = USEC_PER_SEC
    """How often it is stepped. Shorter than a tick for at most ten containers at a time."""

    min: Mapping[str, Value] = key(NOTHING, Takes.LIMITS, "Never below this", '{ CPUQuota = "50%" }')
    max: Mapping[str, Value] = key(NOTHING, Takes.LIMITS, "Never above this", '{ CPUQuota = "200%" }')
    cooldown: int = key(
        60 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "Silence after an action that did not help; doubled each time",
        '"1min"',
        low=USEC_PER_SEC,
        high=24 * 3600 * USEC_PER_SEC,
    )
    lease: int = key(
        300 * USEC_PER_SEC,
        Takes.TIMESPAN,
        "How long a decision lasts unless it is renewed",
        '"5min"',
        low=USEC_PER_SEC,
        high=24 * 3600 * USEC_PER_SEC,
    )

    def complaint(self) -> str:
        """Return what is wrong with the combination of keys, in words that name the keys; "" where nothing is."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One container as a controller sees it.

    `base` is what the controller's properties would be without any feedback: the policies' static limits, else the
    originals. `current` is what the kernel holds now, or, where the control only observes, what it would hold. Both are
    canonical values by D-Bus property, absent where not known; an absent property must not be moved.
    """

    inode: int
    name: str
    sample: Sample
    base: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    current: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    silenced: bool = False
    """An action on it did not help lately: it must not be acted on now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """Ask the kernel to reclaim so many bytes (memory.reclaim): nothing stays behind."""

    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Tell everybody over D-Bus what is about to happen, so that it can be prevented."""

    grace_usec: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Freeze (or thaw) the container's processes."""

    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Kill the container's processes, or only the one that has most memory."""

    whole: bool


Act = Reclaim | Notify | Freeze | Kill


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What an action is judged by: the mean of a signal after it, beside the mean before it.

    The action has helped where after ≤ max(before * (1 - gain), good_enough). A negative `gain` only bounds the harm.
    An absent signal judges nothing.
    """

    inode: int
    """Whose signal: often the victim's, not that of the container that was acted on. 0 = the host's."""
    signal: str
    gain: float
    good_enough: float = 0.0
    after_usec: int = 15 * USEC_PER_SEC
    """How long after the action it is judged, by the mean of the second half of that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one controller wants of one container, in one step. Everything that it does not name stays as it is."""

    inode: int
    reason: str
    """In words, with the numbers that led to it: for the journal and `explain`."""
    limits: Mapping[str, Value | None] = field(default_factory=lambda: NOTHING)
    """Property → canonical value; None gives the property back to what it is without this controller."""
    act: Act | None = None
    recommend: Mapping[str, Value] = field(default_factory=lambda: NOTHING)
    """What would be right, where the policy asks for advice only: reported, never written."""
    expect: tuple[Expect, ...] = ()
    """All must hold, else the action is undone and the controller silenced for this container."""
    hold_usec: int = 0
    """How long it lasts unless renewed; 0 = the controller's lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solo(Controller, ABC):
    """A controller that looks at one container at a time."""

    @abstractmethod
    def start(self) -> Any:
        """Return the state before the first step."""

    @abstractmethod
    def step(self, state: Any, member: Member, dt_sec: float) -> tuple[Any, Decision | None]:
        """Return the next state and what to do; `dt_sec` is the time since the last step of this container."""

    def dump(self, state: Any) -> Any:
        """Return what of `state` outlives the daemon, as JSON values; None where nothing does."""
        del state
        return None

    def load(self, dumped: Any) -> Any:
        """Return the state that dump() told of. Raises ValueError where `dumped` is not of that form."""
        del dumped
        return self.start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The whole host as a joint controller sees it: those that opted in, each with its own table, and the others."""

    now_usec: int
    """CLOCK_MONOTONIC of this tick."""
    dt_sec: float
    host: Sample
    members: Mapping[int, tuple[Member, Controller]]
    """Those whose policies have this controller's table, by inode."""
    others: Mapping[int, Member] = field(default_factory=dict)
    """Containers that did not opt in: to be looked at, never acted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint(Controller, ABC):
    """A controller that weighs containers against each other; one state for the host."""

    @classmethod
    @abstractmethod
    def start_all(cls) -> Any:
        """Return the state before the first step."""

    @classmethod
    @abstractmethod
    def step_all(cls, state: Any, scene: Scene) -> tuple[Any, tuple[Decision, ...]]:
        """Return the next state and what to do. Members come and go: state of those that are gone is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A controller's table as a policy states it for one container."""

    settings: Controller
    source: str
    """`policy:<name>` of the last policy that had a part in it."""
    mode: Mode
    position: Position | None = None

    @classmethod
    def of(cls, settings: Controller, source: str = "policy:test", mode: Mode = Mode.ENFORCE) -> Self:
        """Return a control without a place in a file, for recordings and tests."""
        return cls(settings=settings, source=source, mode=mode)
