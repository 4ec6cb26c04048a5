"""Answering calls: the handler for a path, bounds on how much one caller may ask at once, and no tracebacks outside."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from governor.bus.library import Message, MessageFlag
from governor.bus.messages import (
    FAILED,
    LIMITS_EXCEEDED,
    UNKNOWN_OBJECT,
    Failure,
    Handler,
    Reply,
    call_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

MAX_CALLS_FROM_ONE = 32
"""Calls of one connection that may be under way; one may wait for a polkit dialogue, so they are not quick."""


class Server:
    """Runs handlers. `answer` sends a reply to a message."""

    def __init__(self, answer: Callable[[Message, Reply | Failure], None]) -> None:
        self._answer = answer
        self._handlers: dict[str, Handler] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._from: Counter[str] = Counter()

    def add_handler(self, path: str, handler: Handler) -> None:
        """Let `handler` answer all calls to `path` and below it; the longest path decides."""
        self._handlers[path] = handler

    def serve(self, message: Message) -> None:
        """Start to answer the call in `message`; never blocks, never raises."""
        sender = message.sender or ""
        handler = self._find(message.path or "/")
        if handler is None:
            self._reply(message, Failure(UNKNOWN_OBJECT, f"there is no object {message.path}"))
        elif self._from[sender] >= MAX_CALLS_FROM_ONE:
            self._reply(message, Failure(LIMITS_EXCEEDED, f"{MAX_CALLS_FROM_ONE} calls are under way; wait for one"))
        else:
            self._from[sender] += 1
            task = asyncio.create_task(self._run(message, handler))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Stop all handlers."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, message: Message, handler: Handler) -> None:
        sender = message.sender or ""
        answer: Reply | Failure
        try:
            answer = await handler(call_of(message))
        except Exception:  # noqa: BLE001 whatever it is, the caller shall not see it and others not suffer
            _log.exception("the handler of %s.%s failed", message.interface, message.member)
            answer = Failure(FAILED, "internal error; the journal has the details")
        finally:
            self._from[sender] -= 1
            self._from += Counter()  # drops who has none left
        self._reply(message, answer)

    def _reply(self, message: Message, answer: Reply | Failure) -> None:
        if message.flags & MessageFlag.NO_REPLY_EXPECTED:
            return
        try:
            self._answer(message, answer)
        except TypeError:
            _log.exception("the answer to %s.%s is malformed", message.interface, message.member)
            self._answer(message, Failure(FAILED, "internal error; the journal has the details"))

    def _find(self, path: str) -> Handler | None:
        while path not in self._handlers:
            if path == "/":
                return None
            path = path.rpartition("/")[0] or "/"
        return self._handlers[path]
