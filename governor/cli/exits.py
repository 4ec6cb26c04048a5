"""Exit codes of governorctl, and what each failure says to its user. Both are part of its interface, governorctl(1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from governor.model.errors import Gone, PolicyError


class Exit(IntEnum):
    """What `$?` tells."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_PERMITTED = 4
    NOT_RUNNING = 5
    UNSUPPORTED = 6


MEANINGS: Final = {
    Exit.OK: "done",
    Exit.FAILURE: "it failed, or a checked policy is wrong; what and why is on standard error",
    Exit.USAGE: "the command line is wrong",
    Exit.NOT_FOUND: "no such container or policy, or the name fits several",
    Exit.NOT_PERMITTED: "the caller may not do this",
    Exit.NOT_RUNNING: "the daemon or the bus does not answer",
    Exit.UNSUPPORTED: "this host or daemon lacks what is needed",
}
"""What the manual says about each."""

_BY_ERROR_NAME: Final = {
    "org.freedesktop.DBus.Error.ServiceUnknown": Exit.NOT_RUNNING,
    "org.freedesktop.DBus.Error.NameHasNoOwner": Exit.NOT_RUNNING,
    "org.freedesktop.DBus.Error.NoReply": Exit.NOT_RUNNING,
    "org.freedesktop.DBus.Error.Disconnected": Exit.NOT_RUNNING,
    "org.freedesktop.DBus.Error.AccessDenied": Exit.NOT_PERMITTED,
    "org.freedesktop.DBus.Error.AuthFailed": Exit.NOT_PERMITTED,
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": Exit.NOT_PERMITTED,
    "org.governor1.Error.NoSuchContainer": Exit.NOT_FOUND,
    "org.governor1.Error.Protected": Exit.NOT_PERMITTED,
    "org.governor1.Error.NotSupported": Exit.UNSUPPORTED,
    "org.governor1.Error.BadProperty": Exit.FAILURE,
}
_POLICY_INVALID: Final = "org.governor1.Error.PolicyInvalid"
_ADVICE: Final = {
    Exit.NOT_RUNNING: "is the governor running? Start it with: systemctl start governor",
    Exit.NOT_PERMITTED: "run it as root, or let polkit allow it (actions org.governor1.*)",
    Exit.UNSUPPORTED: "governorctl doctor shows what this host offers",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the command ends: its exit code, what went wrong, and what to do about it ("" where the text says so)."""

    code: Exit
    text: str
    advice: str = ""


def verdict(error: Exception) -> Verdict:
    """Return how one of the project's four exceptions ends a command.

    The bus puts the D-Bus name of an error before its text; the name chooses the code and is not shown.
    """
    name, separator, text = str(error).partition(": ")
    if name == _POLICY_INVALID:
        return Verdict(
            Exit.FAILURE, text, "the last good set stays; governorctl check /etc/governor/policies.d shows all"
        )
    if separator and name in _BY_ERROR_NAME:
        return _verdict(_BY_ERROR_NAME[name], text)
    if isinstance(error, Gone):
        return _verdict(Exit.NOT_FOUND, str(error))
    if isinstance(error, PolicyError):
        return Verdict(Exit.FAILURE, str(error))
    return _verdict(Exit.FAILURE, text if name.startswith(("org.", "io.")) else str(error))


def _verdict(code: Exit, text: str) -> Verdict:
    return Verdict(code, text, _ADVICE.get(code, ""))
