"""Match rules: which signals a listener wants, as the bus daemon reads them and as they are matched here once more.

Matching here is not only to find the listener: anybody may send a signal straight to a connection, past its match
rules. So a rule for a well-known name only lets through what that name's present owner sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.bus.messages import Signal

DAEMON = "org.freedesktop.DBus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a signal must be like; "" = anything. `path_namespace` is a path and all paths below it."""

    sender: str = ""
    path: str = ""
    path_namespace: str = ""
    interface: str = ""
    member: str = ""
    arg0: str = ""

    @property
    def text(self) -> str:
        """The rule as AddMatch takes it (D-Bus Specification, Match Rules)."""
        return ",".join(["type='signal'", *(f"{key}={_quote(value)}" for key, value in self._parts() if value)])

    @property
    def tracks(self) -> str:
        """The well-known name whose owner must be known for this rule; "" where there is none."""
        return "" if self.sender.startswith(":") or self.sender == DAEMON else self.sender

    def matches(self, signal: Signal, owners: Mapping[str, str]) -> bool:
        """Return whether `signal` is wanted; `owners` maps well-known names to the unique names that have them."""
        wanted_sender = owners.get(self.sender, "") if self.tracks else self.sender
        if self.sender and (not wanted_sender or signal.sender != wanted_sender):
            return False
        return self.matches_content(signal)

    def matches_content(self, signal: Signal) -> bool:
        """Return whether `signal` is wanted, whoever sent it: for a peer that is no bus, which is the only sender."""
        below = f"{self.path_namespace.rstrip('/')}/"
        return (
            (not self.path or signal.path == self.path)
            and (not self.path_namespace or f"{signal.path}/".startswith(below))
            and (not self.interface or signal.interface == self.interface)
            and (not self.member or signal.member == self.member)
            and (not self.arg0 or signal.body[:1] == [self.arg0])
        )

    def _parts(self) -> list[tuple[str, str]]:
        return [
            ("sender", self.sender),
            ("path", self.path),
            ("path_namespace", self.path_namespace),
            ("interface", self.interface),
            ("member", self.member),
            ("arg0", self.arg0),
        ]


def owner_rule(name: str) -> Rule:
    """Return the rule for changes of the owner of `name`."""
    return Rule(sender=DAEMON, path="/org/freedesktop/DBus", interface=DAEMON, member="NameOwnerChanged", arg0=name)


def _quote(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
