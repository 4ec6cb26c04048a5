"""org.freedesktop.PolicyKit1 as far as governor asks it: allows what it is told to allow, and notes each question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from governor.bus.messages import Call, Failure, Reply

if TYPE_CHECKING:
    from governor.bus.connection import Bus

PATH = "/org/freedesktop/PolicyKit1/Authority"


class FakePolkit:
    def __init__(self) -> None:
        self.allowed: set[str] = set()
        self.asked: list[tuple[str, str, int]] = []
        self.delay_sec = 0.0

    async def serve(self, bus: Bus) -> None:
        bus.add_handler(PATH, self._answer)
        await bus.request_name("org.freedesktop.PolicyKit1")

    async def _answer(self, call: Call) -> Reply | Failure:
        assert (call.member, call.signature) == ("CheckAuthorization", "(sa{sv})sa{ss}us")
        (kind, details), action, _, flags, _ = call.body
        assert kind == "system-bus-name"
        self.asked.append((details["name"].value, action, flags))
        await asyncio.sleep(self.delay_sec)
        return Reply("(bba{ss})", [[action in self.allowed, False, {}]])
