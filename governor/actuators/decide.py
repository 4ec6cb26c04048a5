"""What to do about one property of one target: pure, so that every case can be tried in a test.

The rules are those of the design ("Who owns a limit"): the current value is ours if we applied or intended it;
anything else is somebody else's and is respected, except while the runtime is still setting its container up, and
except where a daemon-reload brought back what stood there before us.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from governor.model.lease import Hold, Lease

if TYPE_CHECKING:
    from governor.model.policy import Setting
    from governor.model.values import Value


FEEDBACK = "control:"
"""How the source of a setting begins that a controller asks for: it never takes up again what has yielded."""


class Step(StrEnum):
    """What is done about one property."""

    KEEP = "keep"
    """Nothing, in the kernel or in the ledger."""
    CONFIRM = "confirm"
    """The wanted value is already there: only the ledger changes."""
    WRITE = "write"
    """Write the wanted value."""
    RESTORE = "restore"
    """Write the original back and end the lease."""
    YIELD = "yield"
    """Somebody else changed it: stand aside until release, a changed policy or a new invocation."""
    FORGET = "forget"
    """End the lease without a write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a decision may depend on. `current` and `want` are canonical; `want` is None where nothing is wanted."""

    property: str
    current: Value
    want: Value | None
    setting: Setting | None
    lease: Lease | None
    restores: Value
    now_usec: int
    settling: bool = False
    """The payload has not exec'd yet: the runtime's own writes are the baseline, not drift."""
    reverted: bool = False
    """systemd has just applied its configuration again (daemon-reload, daemon-reexec)."""
    persistent: bool = False
    """The target has drop-ins, which must go even where the original value is there already."""
    new_invocation: bool = False
    """The unit was started anew since the lease yielded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A step, the lease as the ledger must hold it before the step's write, and the value that the step writes."""

    step: Step
    lease: Lease | None
    value: Value | None = None


def decide(view: View) -> Move:
    """Return the move for one property."""
    if view.lease is None:
        return _without_lease(view)
    if view.lease.hold is Hold.YIELDED:
        return _yielded(view, view.lease)
    if not view.lease.ours(view.current):
        return _changed_by_others(view, view.lease)
    return _held(view, view.lease)


def _without_lease(view: View) -> Move:
    if view.want is None:
        return Move(step=Step.KEEP, lease=None)
    lease = _lease(view, original=view.current, restores=view.restores)
    return _towards(view, lease)


def _yielded(view: View, lease: Lease) -> Move:
    if view.want is None:
        return Move(step=Step.FORGET, lease=None)
    asked_again = view.want == lease.intended and _owner(view) == lease.owner
    if not view.new_invocation and (asked_again or _owner(view).startswith(FEEDBACK)):
        return Move(step=Step.KEEP, lease=lease)
    return _without_lease(view)


def _changed_by_others(view: View, lease: Lease) -> Move:
    if view.settling:
        return _without_lease(view) if view.want is not None else Move(step=Step.FORGET, lease=None)
    if view.reverted and view.current == lease.original:
        return _held(view, replace(lease, applied=view.current))
    if view.want is None:
        return Move(step=Step.FORGET, lease=None)
    return Move(
        step=Step.YIELD,
        lease=replace(lease, hold=Hold.YIELDED, intended=view.want, owner=_owner(view), since_usec=view.now_usec),
    )


def _held(view: View, lease: Lease) -> Move:
    if view.want is None:
        if view.current == lease.original == lease.intended and not view.persistent:
            return Move(step=Step.FORGET, lease=None)
        # also where the original is there already: a write that never arrived may still be in systemd's memory
        going = replace(lease, applied=view.current, intended=lease.original)
        return Move(step=Step.RESTORE, lease=going, value=lease.restores)
    return _towards(view, _lease(view, original=lease.original, restores=lease.restores, since_usec=lease.since_usec))


def _towards(view: View, lease: Lease) -> Move:
    """Return the move that makes the wanted value true, given the lease as it shall stand."""
    assert view.want is not None
    if view.current == view.want:
        confirmed = replace(lease, applied=view.want)
        return Move(step=Step.KEEP if confirmed == view.lease else Step.CONFIRM, lease=confirmed)
    # `applied` becomes the current value: after a crash between two writes either of them is still known as ours
    return Move(step=Step.WRITE, lease=replace(lease, applied=view.current), value=view.want)


def _lease(view: View, *, original: Value, restores: Value, since_usec: int | None = None) -> Lease:
    assert view.want is not None
    assert view.setting is not None
    same = view.lease is not None and view.lease.owner == view.setting.source and view.lease.intended == view.want
    return Lease(
        property=view.property,
        original=original,
        restores=restores,
        intended=view.want,
        applied=None,
        owner=view.setting.source,
        reason=view.setting.reason,
        since_usec=since_usec if same and since_usec is not None else view.now_usec,
        until_usec=view.setting.until_usec,
    )


def _owner(view: View) -> str:
    return view.setting.source if view.setting else ""
