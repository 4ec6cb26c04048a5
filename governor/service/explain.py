"""One limit in words: what it is, what it was, who asked for it, and how that stands."""

from __future__ import annotations

from governor.model.lease import Hold, Lease
from governor.model.policy import Mode, Setting
from governor.model.tick import Change, Explanation, Outcome


def explanation(name: str, setting: Setting | None, lease: Lease | None, last: Change | None) -> Explanation:
    """Return what is known of the property `name`: what is wanted, what is leased, what became of it last."""
    held = lease is not None and lease.hold is Hold.HELD
    return Explanation(
        property=name,
        value=lease.applied if lease is not None and held else (setting.value if setting else None),
        original=lease.original if lease is not None else None,
        source=setting.source if setting else (lease.owner if lease else ""),
        reason=setting.reason if setting else (lease.reason if lease else ""),
        since_usec=lease.since_usec if lease is not None else 0,
        until_usec=setting.until_usec if setting else 0,
        state=_state(setting, lease, last),
        overrides=setting.overrides if setting else (),
    )


def _state(setting: Setting | None, lease: Lease | None, last: Change | None) -> str:
    if lease is not None and lease.hold is Hold.YIELDED:
        return str(Outcome.YIELDED)
    if setting is not None and setting.mode is Mode.OBSERVE:
        return str(Outcome.OBSERVED)
    if last is not None and last.outcome in (Outcome.REFUSED, Outcome.CONVERGING, Outcome.FAILED):
        return f"{last.outcome}: {last.detail}"
    return "held" if lease is not None and lease.applied == lease.intended else "pending"
