"""Who owns a limit: every write is a lease on one property of one target, and is taken back.

A target is what a value is written to. Its key outlives the daemon: a transient unit is its name and InvocationID,
a persistent unit its name, a file its cgroup's inode, so that a name that comes back is never mistaken for the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.model.values import Value


class TargetKind(StrEnum):
    """What kind of thing is written to, and so how it is identified and restored."""

    TRANSIENT_UNIT = "transient"
    PERSISTENT_UNIT = "persistent"
    FILE = "file"


class Hold(StrEnum):
    """Whether a leased property is ours, or somebody else changed it and we stand aside."""

    HELD = "held"
    YIELDED = "yielded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is written to. `user` is the uid of the manager that has the unit; None for the system's."""

    kind: TargetKind
    unit: str = ""
    invocation: str = ""
    cgroup: str
    inode: int
    user: int | None = None

    @property
    def key(self) -> str:
        """The identity under which the ledger keeps this target's leases; safe as a part of a file name."""
        owner = "system" if self.user is None else str(self.user)
        match self.kind:
            case TargetKind.TRANSIENT_UNIT:
                identity = f"{self.unit}@{self.invocation}"
            case TargetKind.PERSISTENT_UNIT:
                identity = self.unit
            case TargetKind.FILE:
                identity = str(self.inode)
        return f"{self.kind}:{owner}:{identity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One property that we hold. Values are canonical: as the kernel keeps them, so that they compare equal.

    The current value is ours if it is `applied` or `intended`; `applied` is None until a write was seen in the kernel.
    """

    property: str
    original: Value
    """The kernel's value before our first write, canonical."""
    restores: Value
    """What to hand to systemd to get `original` back: its property's own value where that means the same ("unset" is
    not 100), else `original`."""
    intended: Value
    applied: Value | None
    owner: str
    reason: str
    since_usec: int
    until_usec: int = 0
    """End in µs since the epoch; 0 = until released."""
    hold: Hold = Hold.HELD

    def ours(self, current: Value) -> bool:
        """Return whether `current`, as read from the kernel, is a value that we put there."""
        return current in (self.applied, self.intended)
