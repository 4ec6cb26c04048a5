"""One limit in words: what it is, what it was, who asked for it, and how that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.model.directives import BY_PROPERTY
from governor.model.lease import Hold, Lease
from governor.model.policy import Mode, Setting
from governor.model.tick import Change, Explanation, Outcome
from governor.policy.spelling import spell_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.engine.combine import Wish
    from governor.model.control import Control
    from governor.model.step import Step
    from governor.model.values import Value


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


def controls(
    controls_of: Mapping[str, Control], wishes: Iterable[Wish], last: Mapping[str, Step], epoch_usec: int
) -> list[Explanation]:
    """Return one row for each control: what it wants now, and the last thing that it did, in words.

    `last` is by controller; `epoch_usec` is what to add to CLOCK_MONOTONIC to get the time since the epoch.
    """
    wanted = {wish.controller: wish for wish in wishes}
    rows = []
    for name, control in controls_of.items():
        wish, step = wanted.get(name), last.get(name)
        rows.append(
            Explanation(
                property=f"control.{name}",
                value=", ".join(f"{_directive(key)}={_spelled(key, value)}" for key, value in wish.limits.items())
                if wish is not None
                else None,
                original=None,
                source=control.source,
                reason=step.reason if step is not None else "",
                since_usec=wish.since_usec + epoch_usec if wish is not None else 0,
                until_usec=wish.until_usec + epoch_usec if wish is not None and wish.fixed_end else 0,
                state=f"{step.kind if step is not None else 'idle'}{_mode_words(control.mode)}",
            )
        )
    return rows


def _mode_words(mode: Mode) -> str:
    return " (observe: nothing is written)" if mode is Mode.OBSERVE else ""


def _directive(name: str) -> str:
    return BY_PROPERTY[name].name if name in BY_PROPERTY else name


def _spelled(name: str, value: Value) -> str:
    return spell_line(name, value) if name in BY_PROPERTY else str(value)


def _state(setting: Setting | None, lease: Lease | None, last: Change | None) -> str:
    if lease is not None and lease.hold is Hold.YIELDED:
        return str(Outcome.YIELDED)
    if setting is not None and setting.mode is Mode.OBSERVE:
        return str(Outcome.OBSERVED)
    if last is not None and last.outcome in (Outcome.REFUSED, Outcome.CONVERGING, Outcome.FAILED):
        return f"{last.outcome}: {last.detail}"
    return "held" if lease is not None and lease.applied == lease.intended else "pending"
