"""What goes over the bus, in the project's own words: calls, replies, signals, and what errors mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from governor.bus.library import Message, MessageFlag, MessageType
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_TEXT = 1000
_DBUS = "org.freedesktop.DBus.Error."
_SYSTEMD = "org.freedesktop.systemd1."

FAILED = _DBUS + "Failed"
INVALID_ARGS = _DBUS + "InvalidArgs"
ACCESS_DENIED = _DBUS + "AccessDenied"
LIMITS_EXCEEDED = _DBUS + "LimitsExceeded"
UNKNOWN_METHOD = _DBUS + "UnknownMethod"
UNKNOWN_OBJECT = _DBUS + "UnknownObject"
UNKNOWN_INTERFACE = _DBUS + "UnknownInterface"
UNKNOWN_PROPERTY = _DBUS + "UnknownProperty"
PROPERTY_READ_ONLY = _DBUS + "PropertyReadOnly"

_GONE = frozenset(
    {
        UNKNOWN_OBJECT,
        _DBUS + "NameHasNoOwner",
        _SYSTEMD + "NoSuchUnit",
        _SYSTEMD + "NoSuchJob",
        _SYSTEMD + "NoSuchProcess",
        _SYSTEMD + "NoUnitForPID",
        _SYSTEMD + "UnitInactive",
    }
)
_UNSUPPORTED = frozenset(
    {
        _DBUS + "ServiceUnknown",
        ACCESS_DENIED,
        _DBUS + "AuthFailed",
        _DBUS + "InteractiveAuthorizationRequired",
        _DBUS + "NotSupported",
        UNKNOWN_METHOD,
        UNKNOWN_INTERFACE,
        UNKNOWN_PROPERTY,
        # what SetUnitProperties answers for a property that this systemd does not have
        PROPERTY_READ_ONLY,
        _SYSTEMD + "OnlyByDependency",
        _SYSTEMD + "UnitMasked",
    }
)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal received. `sender` is a unique name, or "" from a peer that is no bus."""

    sender: str
    path: str
    interface: str
    member: str
    signature: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A method call to one of our objects; `sender` is the caller's unique name, which it cannot choose."""

    sender: str
    path: str
    interface: str
    """"" where the caller left it out, as it may."""
    member: str
    signature: str
    body: list[Any]
    interactive: bool
    """Whether the caller lets polkit ask its user for a password."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call."""

    signature: str = ""
    body: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer to a call that could not be done; `text` says what to do."""

    name: str
    text: str


Handler: TypeAlias = Callable[[Call], Awaitable[Reply | Failure]]


def signal_of(message: Message) -> Signal:
    """Return the signal that `message` carries."""
    return Signal(
        message.sender or "",
        message.path or "",
        message.interface or "",
        message.member or "",
        message.signature,
        list(message.body),
    )


def call_of(message: Message) -> Call:
    """Return the method call that `message` carries."""
    interactive = bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
    return Call(
        message.sender or "",
        message.path or "",
        message.interface or "",
        message.member or "",
        message.signature,
        list(message.body),
        interactive,
    )


def answer_to(message: Message, serial: int, answer: Reply | Failure) -> Message:
    """Return the message with serial number `serial` that carries `answer` back to the sender of `message`."""
    common = {"destination": message.sender, "reply_serial": message.serial, "serial": serial}
    if isinstance(answer, Reply):
        return Message(
            message_type=MessageType.METHOD_RETURN, signature=answer.signature, body=list(answer.body), **common
        )
    return Message(message_type=MessageType.ERROR, error_name=answer.name, signature="s", body=[answer.text], **common)


def error_of(message: Message) -> Exception:
    """Return what an error reply means: Gone, Unsupported, or ActuationError with its name and text."""
    name = message.error_name or FAILED
    detail = message.body[0] if message.body and isinstance(message.body[0], str) else "no reason given"
    text = f"{name}: {detail[:_MAX_TEXT]}"
    if name in _GONE:
        return Gone(text)
    if name in _UNSUPPORTED:
        return Unsupported(text)
    return ActuationError(text)
