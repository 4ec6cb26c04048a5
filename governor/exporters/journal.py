"""Every decision in the journal: one entry a change, in words and in fields to filter on.

`journalctl -u docker-….scope` shows what was done to that container (OBJECT_SYSTEMD_UNIT), `journalctl -x` explains it
(MESSAGE_ID, units/governor.catalog), and `journalctl GOVERNOR_POLICY=50-web` follows one policy. Text of foreign origin
is escaped in MESSAGE, and in the fields too: `journalctl -x` copies them into its text without a look.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TextIO

from governor.exporters import messages, native
from governor.model.control import Notify
from governor.model.directives import BY_PROPERTY
from governor.model.errors import Gone, Unsupported
from governor.model.policy import Mode
from governor.model.step import StepKind
from governor.model.text import NAME_LIMIT, printable
from governor.model.tick import Outcome
from governor.policy.spelling import spell_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.exporters.messages import Message, Priority
    from governor.model.container import Container
    from governor.model.step import Step
    from governor.model.tick import Change, Tick
    from governor.model.values import Value

MESSAGE_LIMIT: Final = 4000
"""Characters of one MESSAGE line; a terminal shows no more of it anyway."""
REASON_LIMIT: Final = 600
"""Characters of a value, reason or detail within a MESSAGE."""

FIELD_LIMIT: Final = 4000
"""Characters of one field."""

_ENDINGS: Final = {
    Outcome.APPLIED: "",
    Outcome.RESTORED: ", restored",
    Outcome.OBSERVED: " would be set, but the mode is observe",
    Outcome.YIELDED: " is left alone, somebody else changed it",
    Outcome.CONVERGING: " is on its way",
    Outcome.REFUSED: " is refused",
    Outcome.FAILED: " failed and is tried again",
}
_REPORTED_ALWAYS: Final = frozenset({Outcome.APPLIED, Outcome.RESTORED})


class Journal:
    """Writes ticks and the service's own messages to the journal, or with <N> prefixes to `fallback` without one.

    Nothing here waits: what journald cannot take at once is counted in `lost` and reported with the next entry.
    """

    def __init__(self, socket_path: str = native.JOURNAL_SOCKET, fallback: TextIO | None = None) -> None:
        self._socket = native.JournalSocket(socket_path)
        self._fallback = fallback if fallback is not None else sys.stderr
        self._last: dict[int, dict[str, tuple[object, ...]]] = {}
        self.lost = 0
        """Entries that journald could not take since the last report of a loss."""

    def publish(self, tick: Tick) -> None:
        """Write one entry for each change of `tick`.

        What is tried each tick (a failure, a refusal, an observation) is written when it first happens and when it
        becomes different, not once a second.
        """
        for change in tick.changes:
            if self._is_news(change):
                message = messages.OF_OUTCOME[change.outcome]
                self._write(message, message.priority, sentence(change), dict(change_fields(change)))
        for container, step in tick.steps:
            message = messages.FEEDBACK_NOTICE if isinstance(step.act, Notify) else messages.OF_STEP[step.kind]
            self._write(message, message.priority, step_sentence(container, step), dict(step_fields(container, step)))
        if tick.changes:
            self._forget(tick)

    def log(self, message: Message, text: str, *, priority: Priority | None = None, **fields: str) -> None:
        """Write one message of the service itself; `fields` are further journal fields in capitals.

        `text` may have several lines (the problems of a refused policy): each line is escaped by itself.
        """
        shown = "\n".join(printable(line, MESSAGE_LIMIT) for line in text.split("\n"))
        safe = {name: printable(value, FIELD_LIMIT) for name, value in fields.items()}
        self._write(message, message.priority if priority is None else priority, shown, safe)

    def close(self) -> None:
        """Close the journal's socket."""
        self._socket.close()

    def _is_news(self, change: Change) -> bool:
        """Return whether `change` tells more than the last entry about the same property, and remember it."""
        seen = self._last.setdefault(change.container.inode, {})
        told = (change.outcome, change.new, change.source, change.detail)
        if change.outcome not in _REPORTED_ALWAYS and seen.get(change.property) == told:
            return False
        seen[change.property] = told
        return True

    def _forget(self, tick: Tick) -> None:
        """Drop what was said about containers that are no longer there."""
        alive = {container.inode for container in tick.containers}
        self._last = {inode: said for inode, said in self._last.items() if inode in alive}

    def _write(self, message: Message, priority: int, text: str, fields: dict[str, str]) -> None:
        if self.lost and self._send(messages.MESSAGES_LOST, messages.MESSAGES_LOST.priority, _lost_text(self.lost), {}):
            self.lost = 0
        if not self._send(message, priority, text, fields):
            self.lost += 1

    def _send(self, message: Message, priority: int, text: str, fields: dict[str, str]) -> bool:
        """Return whether the entry was taken, by the journal or by the fallback."""
        head = {"MESSAGE": text, "MESSAGE_ID": message.id, "PRIORITY": str(int(priority))}
        try:
            self._socket.send(native.encode({**head, "SYSLOG_IDENTIFIER": "governor", **fields}))
        except Gone:
            return False
        except Unsupported:
            self._print(priority, text)
        return True

    def _print(self, priority: int, text: str) -> None:
        """Write `text` as sd-daemon(3) has it, each line with its priority, so that nothing hides in a second line."""
        for line in text.split("\n"):
            self._fallback.write(f"<{int(priority)}>{line}\n")
        self._fallback.flush()


def sentence(change: Change) -> str:
    """Return `change` in words on one line: `web-1: MemoryHigh 1G → 512M (policy 50-web: because …)`."""
    steps = f"{_spelled(change.property, change.old)} → {_spelled(change.property, change.new)}"
    head = f"{display_name(change.container)}: {_directive(change.property)} {steps}{_ENDINGS[change.outcome]}"
    because = printable(change.reason, REASON_LIMIT)
    origin = printable(change.source, NAME_LIMIT).replace(":", " ", 1)
    why = because if because.startswith(origin) else f"{origin}: {because}" if because else origin
    tail = f": {printable(change.detail, REASON_LIMIT)}" if change.detail else ""
    return printable(f"{head} ({why}){tail}", MESSAGE_LIMIT)


def display_name(container: Container) -> str:
    """Return what a person calls `container`, escaped: its name, else the first 12 characters of its id."""
    return printable(container.name or container.id[:12] or container.cgroup, NAME_LIMIT)


def step_sentence(container: Container, step: Step) -> str:
    """Return what feedback did in words on one line: `web-1: cpu-throttle: CPUQuota 75% (throttled in 42% …)`."""
    limits = ", ".join(f"{_directive(name)} {_given(name, value)}" for name, value in step.limits.items())
    observed = " (observe: not written)" if step.mode is Mode.OBSERVE and step.kind is StepKind.DECIDED else ""
    head = f"{display_name(container)}: {step.controller}: {step.kind}"
    return printable(": ".join(part for part in (head, limits, step.reason) if part) + observed, MESSAGE_LIMIT)


def step_fields(container: Container, step: Step) -> Iterator[tuple[str, str]]:
    """Yield the journal fields of one step of feedback; what is empty is left out."""
    fields = {
        **_container_fields(container),
        "GOVERNOR_CONTROLLER": step.controller,
        "GOVERNOR_STEP": step.kind.value,
        "GOVERNOR_PROPERTY": " ".join(step.limits),
        "GOVERNOR_NEW": ", ".join(_given(name, value) for name, value in step.limits.items()),
        "GOVERNOR_MODE": step.mode.value if step.mode is not None else "",
        "GOVERNOR_POLICY": step.source.removeprefix("policy:"),
        "GOVERNOR_REASON": step.reason,
    }
    return ((name, printable(value, FIELD_LIMIT)) for name, value in fields.items() if value)


def _given(name: str, value: Value | None) -> str:
    return "given back" if value is None else _spelled(name, value)


def _container_fields(container: Container) -> dict[str, str]:
    return {
        "OBJECT_SYSTEMD_UNIT" if container.user is None else "OBJECT_SYSTEMD_USER_UNIT": container.unit,
        "GOVERNOR_CONTAINER": container.name or container.id,
        "GOVERNOR_CONTAINER_KEY": container.key,
        "GOVERNOR_CGROUP": container.cgroup,
    }


def change_fields(change: Change) -> Iterator[tuple[str, str]]:
    """Yield the journal fields of `change`: systemd's object field and ours; what is empty is left out."""
    fields = {
        **_container_fields(change.container),
        "GOVERNOR_PROPERTY": change.property,
        "GOVERNOR_OLD": _spelled(change.property, change.old),
        "GOVERNOR_NEW": _spelled(change.property, change.new),
        "GOVERNOR_OUTCOME": change.outcome.value,
        "GOVERNOR_SOURCE": change.source,
        "GOVERNOR_POLICY": change.source.removeprefix("policy:") if change.source.startswith("policy:") else "",
        "GOVERNOR_REASON": change.reason,
        "GOVERNOR_DETAIL": change.detail,
    }
    return ((name, printable(value, FIELD_LIMIT)) for name, value in fields.items() if value)


def _directive(name: str) -> str:
    """Return the directive's name as in unit files for a property's name on D-Bus."""
    return BY_PROPERTY[name].name if name in BY_PROPERTY else printable(name, NAME_LIMIT)


def _spelled(name: str, value: Value | None) -> str:
    """Return `value` as systemd spells it, on one line; `?` where it is not known."""
    if value is None:
        return "?"
    return printable(spell_line(name, value) if name in BY_PROPERTY else str(value), REASON_LIMIT)


def _lost_text(count: int) -> str:
    return f"{count} messages were lost because the journal could not take them in time"
