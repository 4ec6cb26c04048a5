"""Who listens to which signals, and who owns the names that they listen to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from governor.bus.rules import DAEMON

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.bus.messages import Signal
    from governor.bus.rules import Rule

_log = logging.getLogger(__name__)


class Listeners:
    """Callbacks by rule. `peer`: the connection has one other end, which is the only sender and has no name."""

    def __init__(self, *, peer: bool) -> None:
        self._peer = peer
        self._entries: list[tuple[Rule, Callable[[Signal], None]]] = []
        self._owners: dict[str, str] = {}

    def add(self, rule: Rule, callback: Callable[[Signal], None]) -> bool:
        """Add one; return whether it is the first with this rule, which the bus daemon must be told."""
        first = not any(other == rule for other, _ in self._entries)
        self._entries.append((rule, callback))
        return first

    def remove(self, rule: Rule, callback: Callable[[Signal], None]) -> bool:
        """Remove one, if it is still there; return whether it was the last with this rule."""
        if (rule, callback) not in self._entries:
            return False
        self._entries.remove((rule, callback))
        return not any(other == rule for other, _ in self._entries)

    def rules(self) -> list[Rule]:
        """Return every rule once."""
        return list(dict.fromkeys(rule for rule, _ in self._entries))

    def knows_owner(self, name: str) -> bool:
        """Return whether the owner of `name`, or that there is none, is known."""
        return name in self._owners

    def learn_owner(self, name: str, owner: str) -> None:
        """Take the reply of GetNameOwner, unless a change that is newer came in before it was looked at."""
        self._owners.setdefault(name, owner)

    def forget_owners(self) -> None:
        """Forget all owners: the connection on which they were learnt has ended."""
        self._owners.clear()

    def deliver(self, signal: Signal) -> None:
        """Call back whoever wants `signal`. One that fails is logged and costs the others nothing."""
        if signal.member == "NameOwnerChanged" and signal.sender == DAEMON and signal.signature == "sss":
            name, _, owner = signal.body
            if any(rule.tracks == name for rule, _ in self._entries):
                self._owners[name] = owner
        for rule, callback in tuple(self._entries):
            if not (rule.matches_content(signal) if self._peer else rule.matches(signal, self._owners)):
                continue
            try:
                callback(signal)
            except Exception:  # noqa: BLE001 a listener is not ours to know; its failure must not end the connection
                _log.exception("a listener to %s failed", rule.text)
