"""The D-Bus wire format, from dbus-next or its maintained fork dbus-fast: the only module that names either.

dbus-fast is taken where it is installed and sound (it is faster; Debian 12's is not sound), else dbus-next;
GOVERNOR_DBUS_LIBRARY=dbus_next or dbus_fast forces one. Taken from them: messages, variants, signatures, marshalling.
Not taken: their `MessageBus`, whose constructor blocks while it connects, which dies of EAGAIN under a burst
(dbus-next#153), spins for ever when the other side closes during authentication, reads messages of any size, keeps a
handler for each timed-out call, hangs on calls after the bus died, shows tracebacks to callers and cannot talk to a
peer that is no bus. bus/transport.py does that part on asyncio, without one private attribute of either's connection.
"""

from __future__ import annotations

import importlib
import io
import os
import struct
from typing import TYPE_CHECKING, Any

from governor.model.errors import ActuationError

if TYPE_CHECKING:
    from types import ModuleType

ENVIRONMENT_VARIABLE = "GOVERNOR_DBUS_LIBRARY"
_PREFERRED = ("dbus_fast", "dbus_next")


def _pick() -> ModuleType:
    forced = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if forced and forced not in _PREFERRED:
        raise ImportError(f"{ENVIRONMENT_VARIABLE}={forced!r}: must be dbus_next or dbus_fast")
    if forced:
        return importlib.import_module(forced)
    try:
        preferred = importlib.import_module(_PREFERRED[0])
    except ImportError:
        preferred = None
    return preferred if preferred is not None and counts_bytes(preferred) else importlib.import_module(_PREFERRED[1])


def counts_bytes(library: Any) -> bool:
    """Return whether `library` gives a text's length in bytes of UTF-8, as the D-Bus specification wants it.

    dbus-fast before its pull request 261 counts characters: the bus daemon would end our connection at the first name
    that is not ASCII.
    """
    text = "\N{HORIZONTAL ELLIPSIS}"
    message = library.Message(path="/", interface="a.b", member="c", signature="s", body=[text], serial=1)
    data = text.encode()
    sent = bytes(message._marshall(False))  # noqa: SLF001 neither has a public name
    return sent.endswith(struct.pack("<I", len(data)) + data + b"\0")  # both always write little-endian


_library = _pick()
NAME: str = _library.__name__
"""The library in use: dbus_next or dbus_fast."""

if TYPE_CHECKING:

    class Variant:
        """A value with its own signature."""

        signature: str
        value: Any
        type: Any

        def __init__(self, signature: str, value: Any) -> None: ...

    class MessageType:
        """The four kinds of message, by the libraries' names."""

        METHOD_CALL: MessageType
        METHOD_RETURN: MessageType
        ERROR: MessageType
        SIGNAL: MessageType

    class MessageFlag(int):
        """Flags of a message's header."""

        NONE: MessageFlag
        NO_REPLY_EXPECTED: MessageFlag
        ALLOW_INTERACTIVE_AUTHORIZATION: MessageFlag

    class Message:
        """One message, sent or received; a field that its type does not have is None or empty."""

        destination: str | None
        path: str | None
        interface: str | None
        member: str | None
        message_type: MessageType
        flags: MessageFlag
        error_name: str | None
        reply_serial: int | None
        sender: str | None
        signature: str
        body: list[Any]
        serial: int

        def __init__(self, **fields: Any) -> None: ...

else:
    Message = _library.Message
    MessageFlag = _library.MessageFlag
    MessageType = _library.MessageType
    Variant = _library.Variant

_Unmarshaller = importlib.import_module(f"{NAME}._private.unmarshaller").Unmarshaller
_SignatureTree = importlib.import_module(f"{NAME}.signature").SignatureTree


def marshal(message: Message) -> bytes:
    """Return `message` in wire format; raises TypeError for a body that does not fit its signature.

    Both libraries would send True as the number 1 where an integer is asked for; that is a TypeError here. Text that
    D-Bus cannot carry (NUL, lone surrogates) is data of unknown origin and raises ActuationError: dbus-next would send
    it, and the bus daemon end the connection.
    """
    try:
        for kind, value in zip(_SignatureTree(message.signature).types, message.body, strict=True):
            _check(kind, value)
        return bytes(message._marshall(False))  # type: ignore[attr-defined]  # noqa: SLF001 neither has a public name
    except UnicodeEncodeError as unspeakable:
        raise ActuationError(f"{message.member}: text that is not Unicode cannot be sent") from unspeakable
    except (_library.SignatureBodyMismatchError, struct.error, ValueError, AttributeError) as mismatch:
        raise TypeError(f"{message.member}: body does not fit the signature {message.signature!r}") from mismatch


def unmarshal(data: bytes) -> Message:
    """Return the message in `data`, which holds exactly one; raises ValueError where it is malformed."""
    try:
        message: Message | None = _Unmarshaller(io.BytesIO(data)).unmarshall()
    except Exception as malformed:
        raise ValueError(f"malformed D-Bus message: {type(malformed).__name__}") from malformed
    if message is None:
        raise ValueError("malformed D-Bus message: shorter than its header says")
    return message


def _check(kind: Any, value: Any) -> None:
    match kind.token:
        case "y" | "n" | "q" | "i" | "u" | "x" | "t":
            if isinstance(value, bool):
                raise TypeError(f"{value} where the signature asks for an integer")
        case "s" | "o" | "g":
            if "\0" in value:
                raise ActuationError("text with a NUL character cannot be sent")
        case "v":
            _check(value.type, value.value)
        case "(":
            for child, member in zip(kind.children, value, strict=True):
                _check(child, member)
        case "a" if not isinstance(value, bytes):
            _check_array(kind.children[0], value)


def _check_array(child: Any, value: Any) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _check(child.children[0], key)
            _check(child.children[1], member)
    else:
        for member in value:
            _check(child, member)
