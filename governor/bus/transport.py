"""A connection that carries D-Bus messages: address, authentication, framing (D-Bus Specification 0.42).

Made for sockets whose other side may be hostile (a user's manager): connecting never blocks the loop, lines and
messages have a largest size, what is not read is bounded, and who listens can be checked.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import unquote

from governor.bus.library import Message, marshal, unmarshal
from governor.bus.wire import check_message
from governor.model.errors import ActuationError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_BUS_ADDRESS = "unix:path=/run/dbus/system_bus_socket"
MAX_LINE_BYTES = 4096
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")
_HEADER = struct.Struct("<4B3I")
_HEADER_BIG_ENDIAN = struct.Struct(">4B3I")


def system_bus_address() -> str:
    """Return the system bus's address: DBUS_SYSTEM_BUS_ADDRESS where it is set, else the one that is always there."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS_ADDRESS


def socket_paths(address: str) -> list[str]:
    """Return the Unix sockets that a D-Bus address names, in its order; an abstract one starts with NUL.

    Raises Unsupported where it names none: other transports are not for managers on this host.
    """
    paths = []
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        options = dict(option.split("=", 1) for option in rest.split(",") if "=" in option)
        if transport == "unix" and "path" in options:
            paths.append(unquote(options["path"]))
        elif transport == "unix" and "abstract" in options:
            paths.append("\0" + unquote(options["abstract"]))
    if not paths:
        raise Unsupported(f"{address!r} names no Unix socket; use unix:path=…")
    return paths


def frame_size(header: bytes | bytearray) -> int:
    """Return the size in bytes of the message that starts with these 16 bytes; raises ValueError for no message."""
    if header[0] not in b"lB":
        raise ValueError("not a D-Bus message: unknown byte order")
    unpacker = _HEADER if header[0] == ord("l") else _HEADER_BIG_ENDIAN
    *_, version, body_bytes, _serial, fields_bytes = unpacker.unpack_from(header)
    if version != 1:
        raise ValueError(f"not a D-Bus message: protocol version {version}")
    return int(_HEADER.size + fields_bytes + (-fields_bytes % 8) + body_bytes)


class Transport(asyncio.Protocol):
    """One authenticated connection. `on_message` gets each message, `on_lost` why it ended, once.

    `peer`: no bus daemon is between us and the other side, so its messages are checked here.
    """

    def __init__(
        self,
        on_message: Callable[[Message], None],
        on_lost: Callable[[str], None],
        *,
        peer: bool,
        max_message_bytes: int,
    ) -> None:
        self._peer = peer
        self._on_message = on_message
        self._on_lost = on_lost
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._line: asyncio.Future[str] | None = None
        self._authenticated = False
        self._transport: asyncio.Transport | None = None
        self._reason = "closed by the other side"
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket's transport (asyncio's interface)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what arrived: a line of the authentication, or messages (asyncio's interface)."""
        self._buffer += data
        try:
            if self._authenticated:
                self._take_messages()
            else:
                self._take_line()
        except ValueError as malformed:
            self.abort(str(malformed))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell why the connection ended (asyncio's interface)."""
        self._writable.set()
        self._ended.set()
        reason = str(exc) if exc else self._reason
        if self._line is not None and not self._line.done():
            self._line.set_exception(ConnectionError(reason))
        if self._authenticated:
            self._on_lost(reason)

    def pause_writing(self) -> None:
        """Let callers of `writable` wait: the other side reads more slowly than we write (asyncio's interface)."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let them go on (asyncio's interface)."""
        self._writable.set()

    async def writable(self) -> None:
        """Return once the other side has read most of what was sent, or the connection has ended."""
        while not self._writable.is_set():  # all waiters wake at once, and the first may fill it up again
            await self._writable.wait()

    async def ended(self) -> None:
        """Return once the connection has ended and its socket is closed."""
        await self._ended.wait()

    def demand_peer(self, uid: int) -> None:
        """Raise ConnectionError unless a process of `uid` listens on the socket (unix(7), SO_PEERCRED)."""
        assert self._transport is not None
        credentials = self._transport.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        _, actual, _ = _CREDENTIALS.unpack(credentials)
        if actual != uid:
            raise ConnectionError(f"uid {actual} listens there, not uid {uid}")

    async def authenticate(self) -> None:
        """Log in as the user that we are (SASL EXTERNAL); raises ConnectionError where that is refused."""
        assert self._transport is not None
        self._line = asyncio.get_running_loop().create_future()
        self._transport.write(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        answer = await self._line
        if not answer.startswith("OK"):
            raise ConnectionError(f"authentication refused: {answer!r}")
        self._authenticated = True
        self._transport.write(b"BEGIN\r\n")

    def send(self, message: Message) -> None:
        """Queue `message`; raises TypeError if it is malformed, ConnectionError if the connection has ended."""
        data = marshal(message)
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError(self._reason)
        if self._transport.get_write_buffer_size() > self._max_message_bytes:
            self.abort("the other side has stopped reading")
            raise ConnectionError(self._reason)
        self._transport.write(data)

    def abort(self, reason: str) -> None:
        """End the connection at once; `on_lost` will get `reason`."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    def _take_line(self) -> None:
        if self._line is None or self._line.done():
            raise ValueError("the other side spoke before it was asked")
        line, separator, _rest = self._buffer.partition(b"\r\n")
        if len(line) > MAX_LINE_BYTES:
            raise ValueError("endless line during authentication")
        if separator:
            del self._buffer[: len(line) + len(separator)]
            self._line.set_result(line.decode("ascii", "replace"))

    def _take_messages(self) -> None:
        offset = 0
        while len(self._buffer) - offset >= _HEADER.size:
            size = frame_size(self._buffer[offset : offset + _HEADER.size])
            if size > self._max_message_bytes:
                raise ValueError(f"message of {size} bytes; at most {self._max_message_bytes} are read")
            if len(self._buffer) - offset < size:
                break
            data = bytes(self._buffer[offset : offset + size])
            if self._peer:
                check_message(data)
            message = unmarshal(data)
            offset += size
            self._on_message(message)
        del self._buffer[:offset]


async def open_transport(
    address: str,
    on_message: Callable[[Message], None],
    on_lost: Callable[[str], None],
    *,
    peer: bool = False,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    expected_peer_uid: int | None = None,
) -> Transport:
    """Return an authenticated connection to the first socket of `address` that takes one.

    Raises Unsupported where nothing listens, the login is refused, or the listener is not `expected_peer_uid`.
    """
    reasons = []
    for path in socket_paths(address):
        try:
            _, transport = await asyncio.get_running_loop().create_unix_connection(
                lambda: Transport(on_message, on_lost, peer=peer, max_message_bytes=max_message_bytes), path
            )
        except OSError as refused:
            reasons.append(f"{path!r}: {refused.strerror or refused}")
            continue
        try:
            if expected_peer_uid is not None:
                transport.demand_peer(expected_peer_uid)
            await transport.authenticate()
        except OSError as refused:
            transport.abort(str(refused))
            reasons.append(f"{path!r}: {refused}")
        except BaseException:
            transport.abort("not wanted")
            raise
        else:
            return transport
    raise Unsupported(f"no D-Bus connection: {'; '.join(reasons)}")


def disconnected(reason: str) -> ActuationError:
    """Return the error for a call that the end of its connection cut off."""
    return ActuationError(f"disconnected from D-Bus: {reason}")
