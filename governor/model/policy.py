"""What the administrator wants: policies, and the limits that they come to for one container."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Controller
    from governor.model.errors import Position
    from governor.model.values import Value


class Mode(StrEnum):
    """Whether a decision is written (enforce) or only reported (observe)."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which containers a policy is for. Every non-empty field must hold; within a field any of the globs may."""

    runtime: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    slice: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    """Uids or user names (globs) of user managers. Containers beneath one match only policies that name it here."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    kubernetes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Keys namespace, pod, container, qos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One value of one property as a policy states it, with the place that states it."""

    value: Value
    position: Position


KeyPath: TypeAlias = tuple[str, ...]
"""A key of a controller's table: ("target",), or ("min", "CPUQuotaPerSecUSec") for a property in a table of limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlValue:
    """One value of a controller's table as a policy states it, with the place that states it."""

    value: Value | float
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTable:
    """One [control.NAME] as a policy states it: only what is written there, without the defaults."""

    kind: type[Controller]
    position: Position
    """Where the table begins."""
    values: Mapping[KeyPath, ControlValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy file. `limits` is keyed by D-Bus property name (CPUQuotaPerSecUSec), not by directive (CPUQuota)."""

    name: str
    """The file's name without .toml; policies apply in its lexical order."""
    file: str
    mode: Mode
    match: Match
    limits: Mapping[str, Limit]
    controls: Mapping[str, ControlTable] = field(default_factory=lambda: MappingProxyType({}))
    """By the controllers' names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one property of one container shall be, who wants it and why."""

    value: Value
    source: str
    """`policy:<name>`, `user:<uid>` for SetLimits, or `control:<controller>`."""
    reason: str
    mode: Mode = Mode.ENFORCE
    position: Position | None = None
    until_usec: int = 0
    """End in µs since the epoch; 0 = until released."""
    overrides: tuple[str, ...] = ()
    """Sources that asked for another value of this property and lost, in the order in which they lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """/etc/governor/governor.toml. `mode` caps every policy's; `interval_usec` is the length of a tick."""

    mode: Mode = Mode.ENFORCE
    interval_usec: int = 1_000_000
    protected: tuple[str, ...] = ()
    """More units (globs) that are never written, besides the built-in ones."""
    kubernetes_write: bool = False
    resync_usec: int = 30_000_000
    actions_per_minute: int = 600
    """How many actions of controllers there may be on the whole host; 0 leaves only what is reported."""
