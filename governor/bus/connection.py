"""A bus, or a peer that speaks D-Bus: calls with an end, signals from whom they say, and coming back after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from governor.bus.library import Message, MessageFlag, MessageType
from governor.bus.listeners import Listeners
from governor.bus.messages import Failure, Handler, Reply, answer_to, error_of, signal_of
from governor.bus.rules import DAEMON, owner_rule
from governor.bus.serving import Server
from governor.bus.transport import MAX_MESSAGE_BYTES, Transport, disconnected, open_transport, system_bus_address
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.bus.messages import Signal
    from governor.bus.rules import Rule

_log = logging.getLogger(__name__)

CALL_TIMEOUT_SEC = 25.0
"""As long as libdbus and sd-bus wait."""
MAX_IN_FLIGHT = 64
"""Below dbus-daemon's 128 pending replies for one connection; PID 1 gets no faster from more."""
_FIRST_RETRY_SEC = 0.05
_LAST_RETRY_SEC = 5.0
_DAEMON_PATH = "/org/freedesktop/DBus"


class Bus:
    """One connection. Made by `Bus.connect`; after a loss it returns by itself until `close`."""

    def __init__(
        self,
        address: str,
        *,
        peer: bool,
        timeout_sec: float,
        max_in_flight: int,
        max_message_bytes: int,
        peer_uid: int | None,
    ) -> None:
        self.address = address
        self.unique_name = ""
        self._peer = peer
        self._peer_uid = peer_uid
        self._timeout_sec = timeout_sec
        self._max_message_bytes = max_message_bytes
        self._slots = asyncio.Semaphore(max_in_flight)
        self._serial = 0
        self._transport: Transport | None = None
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}
        self._listeners = Listeners(peer=peer)
        self._names: list[str] = []
        self._server = Server(self._answer)
        self._on_lost: list[Callable[[str], None]] = []
        self._on_restored: list[Callable[[], None]] = []
        self._closed = False
        self._returning: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls,
        address: str | None = None,
        *,
        peer: bool = False,
        peer_uid: int | None = None,
        timeout_sec: float = CALL_TIMEOUT_SEC,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> Bus:
        """Return a connection to the bus at `address` (None = the system bus).

        `peer` is for a socket that speaks D-Bus without a bus daemon (a manager's private socket); `peer_uid` demands
        that this user listens there. Raises Unsupported where there is none, ActuationError where it does not answer.
        """
        bus = cls(
            address or system_bus_address(),
            peer=peer,
            timeout_sec=timeout_sec,
            max_in_flight=max_in_flight,
            max_message_bytes=max_message_bytes,
            peer_uid=peer_uid,
        )
        try:
            await bus._open()
        except BaseException:
            await bus.close()
            raise
        return bus

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        return self._transport is not None

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        timeout_sec: float | None = None,
        interactive: bool = False,
    ) -> list[Any]:
        """Return the values of the reply to one method call; `interactive` lets polkit ask the user for a password.

        Raises Gone (the object ended), Unsupported (no such service, method or permission), ActuationError (any other
        error, with its D-Bus name; no reply in time; disconnected), TypeError (a body that is not of `signature`).
        """
        seconds = self._timeout_sec if timeout_sec is None else timeout_sec
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE,
            serial=self._next_serial(),
        )
        try:
            async with asyncio.timeout(seconds), self._slots:
                if self._transport is None:
                    raise disconnected("closed" if self._closed else "reconnecting")
                return await self._exchange(message, self._transport)
        except TimeoutError as late:
            raise ActuationError(f"{destination} {interface}.{member}: no reply within {seconds:g} s") from late

    async def listen(self, rule: Rule, callback: Callable[[Signal], None]) -> Callable[[], None]:
        """Call `callback` for each signal that `rule` matches, also after a reconnection; return the undo.

        Raises as `call` does; then nothing is listened to.
        """
        first = self._listeners.add(rule, callback)
        try:
            if first and not self._peer:
                await self._establish(rule)
        except BaseException:
            self._listeners.remove(rule, callback)
            raise
        return lambda: self._forget(rule, callback)

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the reason each time the connection ends unasked."""
        self._on_lost.append(callback)

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time it is back, with rules, names and objects in place: signals were missed."""
        self._on_restored.append(callback)

    def add_handler(self, path: str, handler: Handler) -> None:
        """Let `handler` answer all calls to `path` and below it."""
        self._server.add_handler(path, handler)

    async def request_name(self, name: str) -> None:
        """Own `name`, also after a reconnection; raises ActuationError where another process has it."""
        await self._own(name)
        self._names.append(name)

    def emit(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        destination: str | None = None,
    ) -> None:
        """Send a signal, to all or to one; while disconnected it is dropped, as any listener has to expect."""
        if self._transport is None:
            return
        message = Message(
            message_type=MessageType.SIGNAL,
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            serial=self._next_serial(),
        )
        with contextlib.suppress(ConnectionError):
            self._transport.send(message)

    async def close(self) -> None:
        """End the connection for good; calls under way get ActuationError."""
        self._closed = True
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort("closed")
            await transport.ended()
        self._fail_pending("closed")
        await self._server.close()

    async def _exchange(self, message: Message, transport: Transport) -> list[Any]:
        await transport.writable()
        future = asyncio.get_running_loop().create_future()
        self._pending[message.serial] = future
        try:
            transport.send(message)
            reply: list[Any] = await future
        except ConnectionError as ended:
            raise disconnected(str(ended)) from ended
        finally:
            self._pending.pop(message.serial, None)
        return reply

    def _next_serial(self) -> int:
        # 32 bits, never 0; after a wrap the old calls have long timed out
        self._serial = self._serial % 0xFFFFFFFF + 1
        return self._serial

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_sec):
                transport = await self._greeted()
        except TimeoutError as late:
            raise ActuationError(f"{self.address} does not answer within {self._timeout_sec:g} s") from late
        self._transport = transport
        try:
            await self._restore()
        except BaseException:
            self._transport = None
            transport.abort("not set up")
            raise

    async def _greeted(self) -> Transport:
        """Return a connection that may be used: before Hello, nothing else may be sent to a bus daemon."""
        transport = await open_transport(
            self.address,
            self._dispatch,
            self._lost,
            peer=self._peer,
            max_message_bytes=self._max_message_bytes,
            expected_peer_uid=self._peer_uid,
        )
        if self._peer:
            return transport
        hello = Message(
            destination=DAEMON, path=_DAEMON_PATH, interface=DAEMON, member="Hello", serial=self._next_serial()
        )
        try:
            [self.unique_name] = await self._exchange(hello, transport)
        except BaseException:
            transport.abort("no answer to Hello")
            raise
        return transport

    async def _restore(self) -> None:
        if self._peer:
            return
        for rule in self._listeners.rules():
            await self._establish(rule)
        for name in self._names:
            await self._own(name)

    async def _establish(self, rule: Rule) -> None:
        name = rule.tracks
        if name and not self._listeners.knows_owner(name):
            await self._daemon("AddMatch", "s", [owner_rule(name).text])
            try:
                [owner] = await self._daemon("GetNameOwner", "s", [name])
            except Gone:
                owner = ""
            self._listeners.learn_owner(name, owner)
        await self._daemon("AddMatch", "s", [rule.text])

    def _forget(self, rule: Rule, callback: Callable[[Signal], None]) -> None:
        last = self._listeners.remove(rule, callback)
        if not last or self._peer or self._transport is None:
            return
        message = Message(
            destination=DAEMON,
            path=_DAEMON_PATH,
            interface=DAEMON,
            member="RemoveMatch",
            signature="s",
            body=[rule.text],
            flags=MessageFlag.NO_REPLY_EXPECTED,
            serial=self._next_serial(),
        )
        with contextlib.suppress(ConnectionError):
            self._transport.send(message)

    async def _own(self, name: str) -> None:
        do_not_queue, owner_replies = 4, (1, 4)
        [reply] = await self._daemon("RequestName", "su", [name, do_not_queue])
        if reply not in owner_replies:
            raise ActuationError(f"another process owns {name} on the bus; stop it first")

    async def _daemon(self, member: str, signature: str, body: list[Any]) -> list[Any]:
        return await self.call(DAEMON, _DAEMON_PATH, DAEMON, member, signature, body)

    def _dispatch(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self._listeners.deliver(signal_of(message))
        elif message.message_type is MessageType.METHOD_CALL:
            self._server.serve(message)
        else:
            future = self._pending.get(message.reply_serial or 0)
            if future is None or future.done():
                return  # its caller has given up
            if message.message_type is MessageType.ERROR:
                future.set_exception(error_of(message))
            else:
                future.set_result(list(message.body))

    def _answer(self, message: Message, answer: Reply | Failure) -> None:
        if self._transport is not None:
            with contextlib.suppress(ConnectionError):
                self._transport.send(answer_to(message, self._next_serial(), answer))

    def _fail_pending(self, reason: str) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(disconnected(reason))

    def _lost(self, reason: str) -> None:
        self._fail_pending(reason)
        self._listeners.forget_owners()
        if self._transport is None or self._closed:
            return
        self._transport = None
        if self._returning is None or self._returning.done():
            _log.warning("lost the D-Bus connection to %s: %s", self.address, reason)
            self._returning = asyncio.create_task(self._return())
            for callback in self._on_lost:
                callback(reason)

    async def _return(self) -> None:
        delay_sec = _FIRST_RETRY_SEC
        while not self._closed:
            try:
                await self._open()
            except (ActuationError, Unsupported, Gone) as failed:
                _log.debug("no D-Bus connection to %s yet: %s", self.address, failed)
                await asyncio.sleep(delay_sec)
                delay_sec = min(delay_sec * 2, _LAST_RETRY_SEC)
            else:
                break
        _log.info("back on D-Bus at %s", self.address)
        for callback in self._on_restored:
            callback()
