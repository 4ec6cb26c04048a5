"""Who may do what: root anything, others what polkit lets them (polkit(8), org.freedesktop.PolicyKit1.Authority)."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING

from governor.bus.library import Variant
from governor.bus.rules import DAEMON
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from governor.bus.connection import Bus

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_SEC = 5.0
DIALOGUE_TIMEOUT_SEC = 120.0
"""A person types a password in this time, or does not."""
_AUTHORITY = "org.freedesktop.PolicyKit1"
_AUTHORITY_PATH = "/org/freedesktop/PolicyKit1/Authority"
_AUTHORITY_INTERFACE = "org.freedesktop.PolicyKit1.Authority"
_ALLOW_USER_INTERACTION = 1


class Action(StrEnum):
    """The polkit actions, as the .policy file declares them."""

    RELOAD = "org.governor1.reload"
    SET_LIMITS = "org.governor1.set-limits"
    RELEASE = "org.governor1.release"
    SET_MODE = "org.governor1.set-mode"
    READ_DETAILS = "org.governor1.read-details"


class Polkit:
    """Answers questions about callers by their unique names, which they cannot choose. Never raises."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def uid_of(self, sender: str) -> int | None:
        """Return the uid of the connection `sender`; None where it has gone or the bus daemon does not tell."""
        try:
            [uid] = await self._bus.call(
                DAEMON,
                "/org/freedesktop/DBus",
                DAEMON,
                "GetConnectionUnixUser",
                "s",
                [sender],
                timeout_sec=ANSWER_TIMEOUT_SEC,
            )
        except (Gone, Unsupported, ActuationError) as unknown:
            log.debug("no uid of %s: %s", sender, unknown)
            return None
        return int(uid)

    async def allows(self, sender: str, uid: int | None, action: Action, *, interactive: bool) -> bool:
        """Return whether `sender`, who is `uid`, may do `action`; `interactive` lets polkit ask for a password.

        Root may without polkit, so that a host without it is not locked; everybody else may not without it.
        """
        if uid is None:
            return False
        if uid == 0:
            return True
        subject = ["system-bus-name", {"name": Variant("s", sender)}]
        flags = _ALLOW_USER_INTERACTION if interactive else 0
        try:
            [(authorized, *_)] = await self._bus.call(
                _AUTHORITY,
                _AUTHORITY_PATH,
                _AUTHORITY_INTERFACE,
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                [subject, str(action), {}, flags, ""],
                timeout_sec=DIALOGUE_TIMEOUT_SEC if interactive else ANSWER_TIMEOUT_SEC,
            )
        except (Gone, Unsupported, ActuationError, ValueError) as unanswered:
            log.debug("polkit does not answer for %s: %s", action, unanswered)
            return False
        return authorized is True
