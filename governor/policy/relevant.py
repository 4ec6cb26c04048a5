"""Whether any policy could be about a plain unit: a host has hundreds of them, and almost none is governed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.policy.globs import any_matches, is_literal
from governor.policy.match import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.model.policy import Policy


def names_unit(policies: Iterable[Policy], unit: str) -> bool:
    """Return whether one of `policies` names the plain `unit`: a service literally, anything else by a glob as well.

    True for everything but services where a policy asks for runtime "systemd" as a whole.
    """
    literal = unit.endswith(".service")
    return any(_names(policy, unit, literal=literal) for policy in policies)


def _names(policy: Policy, unit: str, *, literal: bool) -> bool:
    match = policy.match
    if match.runtime and not any_matches(match.runtime, PLAIN):
        return False
    if literal:
        return any(is_literal(pattern) and pattern == unit for pattern in match.unit)
    return any_matches(match.unit, unit) if match.unit else PLAIN in match.runtime
