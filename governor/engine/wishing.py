"""From a decision to a wish: what a decision asks for, whether it asks for anything new, what it leaves as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.engine.combine import Wish
from governor.model.control import Freeze
from governor.model.directives import FREEZE

if TYPE_CHECKING:
    from governor.model.control import Control, Decision
    from governor.model.values import Value


def only_gives_back(decision: Decision) -> bool:
    """Return whether a decision takes nothing from anybody: it is always allowed."""
    thaws = isinstance(decision.act, Freeze) and not decision.act.frozen
    return (decision.act is None or thaws) and all(value is None for value in decision.limits.values())


def sets_limits(decision: Decision) -> bool:
    """Return whether a decision counts as an action of the host's budget: whether it sets any limit.

    To reclaim leaves nothing behind and is asked for often; a notice, a freeze and a kill are too serious to drop.
    """
    return any(value is not None for value in decision.limits.values())


def repeats(decision: Decision, wish: Wish | None) -> bool:
    """Return whether a decision asks only for what is wished for already: that renews it, and is no action."""
    if wish is None or not decision.limits or decision.act is not None:
        return False
    return all(wish.limits.get(name) == value for name, value in decision.limits.items())


def wish_of(before: Wish | None, controller: str, control: Control, decision: Decision, now_usec: int) -> Wish | None:
    """Return what the controller wants from now on; what the decision does not name stays as it was. None = nothing."""
    wanted: dict[str, Value | None] = {**(before.limits if before else {}), **decision.limits}
    if isinstance(decision.act, Freeze):
        wanted[FREEZE] = True if decision.act.frozen else None
    limits = {name: value for name, value in wanted.items() if value is not None}
    if not limits:
        return None
    again = before is not None and repeats(decision, before)
    return Wish(
        controller=controller,
        control=control,
        limits=limits,
        reason=decision.reason,
        since_usec=before.since_usec if before is not None and again else now_usec,
        until_usec=now_usec + (decision.hold_usec or control.settings.lease),
        fixed_end=bool(decision.hold_usec),
    )
