"""A controller for tests of the policy language: it has a key of every sort, and never decides anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from governor.model.control import NOTHING, Controller, Solo, Takes, key, keys_of
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Decision, Member
    from governor.model.values import Value

MIB: Final = 1024 * 1024


def replace_default(name: str, default: Any) -> Any:
    """Return a key of every controller with another default."""
    return field(default=default, metadata={"key": keys_of(Controller)[name]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse(Solo):
    name: ClassVar[str] = "pulse"
    summary: ClassVar[str] = "Beats"
    properties: ClassVar[tuple[str, ...]] = ("CPUQuotaPerSecUSec", "MemoryHigh", "IOReadBandwidthMax")

    target: float = key(0.05, Takes.RATIO, "Aimed at", '"5%"', low=0.01, high=0.5)
    release: float = key(0.02, Takes.RATIO, "Given back below it", "0.02", low=0.0)
    every: int = key(2 * USEC_PER_SEC, Takes.TIMESPAN, "Time from beat to beat", '"2s"', low=USEC_PER_SEC)
    room: int = key(64 * MIB, Takes.BYTES, "Room that is left", '"64M"', low=MIB, high=1024 * MIB)
    beats: int = key(3, Takes.COUNT, "Beats before it rests", "3", low=1, high=10)
    loud: bool = key(False, Takes.BOOLEAN, "Whether it is heard", "true")
    tone: str = key("low", Takes.CHOICE, "How it sounds", '"low"', choices=("low", "high"))

    def complaint(self) -> str:
        if self.min.get("MemoryHigh") == 1:
            return "min.MemoryHigh is next to nothing"
        if self.loud and self.beats == 10:
            return "nobody could bear it"
        return "" if self.release < self.target else "release is not below target"

    def start(self) -> Any:
        return None

    def step(self, state: Any, member: Member, dt_sec: float) -> tuple[Any, Decision | None]:
        del member, dt_sec
        return state, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet(Solo):
    name: ClassVar[str] = "quiet"
    summary: ClassVar[str] = "Moves nothing"

    def start(self) -> Any:
        return None

    def step(self, state: Any, member: Member, dt_sec: float) -> tuple[Any, Decision | None]:
        del member, dt_sec
        return state, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap(Quiet):
    name: ClassVar[str] = "swap"
    summary: ClassVar[str] = "Moves swap"
    properties: ClassVar[tuple[str, ...]] = ("MemorySwapMax", "MemoryZSwapMax")

    max: Mapping[str, Value] = key(NOTHING, Takes.LIMITS, "Ceiling", '{ MemoryZSwapMax = "1M" }')
    lease: int = replace_default("lease", 9 * USEC_PER_SEC)


CONTROLLERS: Final[Mapping[str, type[Controller]]] = {kind.name: kind for kind in (Pulse, Quiet)}
