"""A limit that somebody else set in a container's nested cgroup, while we hold the same one on the scope around it.

crun 1.8 (Debian 12) updates a container there and leaves the scope alone (later ones set the scope's properties too):
podman update would end in the smaller of the user's value and ours. So the scope's limit is given up for the user's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.actuators.apply import Result
from governor.model.lease import Hold
from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.actuators.apply import Want
    from governor.actuators.ledger import Entry
    from governor.model.lease import Lease
    from governor.model.values import Value

_DETAIL = "changed by somebody else in its nested cgroup: left alone until release, a changed policy or a new start"


def changed(seen: Mapping[str, Value], now: Mapping[str, Value], entry: Entry) -> dict[str, Lease]:
    """Return the leases in `entry`, the scope's, whose property is not what was `seen` in the nested cgroup."""
    return {
        name: lease
        for name, lease in entry.leases.items()
        if lease.hold is Hold.HELD and name in seen and name in now and seen[name] != now[name]
    }


def stand_aside(entry: Entry, wants: Mapping[str, Want], given_up: Mapping[str, Lease], now_usec: int) -> Entry:
    """Return `entry` with those of the `given_up` leases that it has restored yielded, as if the scope had changed."""
    yielded = {
        name: replace(
            lease,
            hold=Hold.YIELDED,
            intended=wants[name].value,
            owner=wants[name].setting.source,
            reason=wants[name].setting.reason,
            since_usec=now_usec,
        )
        for name, lease in given_up.items()
        if name not in entry.leases and name in wants
    }
    return replace(entry, leases={**entry.leases, **yielded})


def result(want: Want, lease: Lease, now: Value) -> Result:
    """Return the result that reports a yielded property; `now` is the nested cgroup's value."""
    return Result(
        property=lease.property,
        old=lease.applied,
        new=now,
        outcome=Outcome.YIELDED,
        source=want.setting.source,
        reason=want.setting.reason,
        detail=_DETAIL,
    )
