"""A peer that speaks D-Bus without a bus daemon: a user's manager, that is: whatever a user puts on that socket."""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from governor.bus.connection import Bus
from governor.bus.library import Message, MessageType, marshal, unmarshal
from governor.bus.rules import Rule
from governor.bus.systemd import Systemd, connect_user_manager
from governor.bus.transport import frame_size
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

UID = os.getuid()


@asynccontextmanager
async def listening(
    run: Path, behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[str]:
    socket = run / "user" / str(UID) / "systemd" / "private"
    socket.parent.mkdir(parents=True)
    tasks: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await behave(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    server = await asyncio.start_unix_server(serve, socket)
    try:
        yield f"unix:path={socket}"
    finally:
        await asyncio.sleep(0.05)  # who has just connected is served, and so closed, too
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


async def authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.readuntil(b"\r\n") == b"\0AUTH EXTERNAL " + str(UID).encode().hex().encode() + b"\r\n"
    writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
    assert await reader.readuntil(b"\r\n") == b"BEGIN\r\n"


async def read_message(reader: asyncio.StreamReader) -> Message:
    header = await reader.readexactly(16)
    return unmarshal(header + await reader.readexactly(frame_size(header) - 16))


async def manager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as systemd's private socket does: no Hello, and signals without a match rule."""
    await authenticate(reader, writer)
    while True:
        call = await read_message(reader)
        if call.member == "GetUnit":
            answer = {"message_type": MessageType.METHOD_RETURN, "signature": "o", "body": ["/org/freedesktop/x"]}
        elif call.member == "Subscribe":
            answer = {"message_type": MessageType.METHOD_RETURN}
        else:
            name = "org.freedesktop.systemd1.NoSuchUnit"
            answer = {"message_type": MessageType.ERROR, "error_name": name, "signature": "s", "body": [call.member]}
        writer.write(marshal(Message(reply_serial=call.serial, serial=call.serial + 100, **answer)))
        if call.member == "Subscribe":
            signal = {"path": "/org/freedesktop/systemd1", "interface": "org.freedesktop.systemd1.Manager"}
            news = Message(
                message_type=MessageType.SIGNAL,
                member="UnitNew",
                signature="so",
                body=["a.scope", "/a"],
                serial=7,
                **signal,
            )
            writer.write(marshal(news))


async def test_a_users_manager_is_called_and_heard_without_a_bus(tmp_path: Path) -> None:
    async with listening(tmp_path, manager):
        bus = await connect_user_manager(UID, run=str(tmp_path))
        with pytest.raises(Gone, match="NoSuchUnit: SetUnitProperties"):
            await Systemd(bus).set_unit_properties("a.scope", {"CPUWeight": 5})
        heard = asyncio.get_running_loop().create_future()
        await Systemd(bus).subscribe(unit_new=lambda unit, _: heard.set_result(unit))
        assert await asyncio.wait_for(heard, 5) == "a.scope"
        await bus.close()


async def test_a_listener_of_another_user_is_refused(tmp_path: Path) -> None:
    async with listening(tmp_path, manager) as address:
        with pytest.raises(Unsupported, match=f"uid {UID} listens there, not uid {UID + 1}"):
            await Bus.connect(address, peer=True, peer_uid=UID + 1)


async def closes(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def rejects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n")
    writer.write(b"REJECTED EXTERNAL\r\n")
    await reader.read()


async def never_ends_its_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n")
    for _ in range(1000):
        writer.write(b"OK" * 1000)
        await writer.drain()


async def says_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("behave", "says"),
    [
        (closes, "closed by the other side|reset|Broken"),
        (rejects, "authentication refused"),
        (never_ends_its_line, "endless line"),
    ],
)
async def test_a_peer_that_does_not_let_us_in_is_unsupported_at_once(
    tmp_path: Path, behave: Callable[..., Awaitable[None]], says: str
) -> None:
    async with listening(tmp_path, behave) as address:
        with pytest.raises(Unsupported, match=says):
            await asyncio.wait_for(Bus.connect(address, peer=True), 5)


async def test_a_peer_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async with listening(tmp_path, says_nothing) as address:
        with pytest.raises(ActuationError, match="does not answer"):
            await asyncio.wait_for(Bus.connect(address, peer=True, timeout_sec=0.2), 5)


async def test_a_full_backlog_does_not_stop_the_loop(tmp_path: Path) -> None:
    import socket  # noqa: PLC0415 only this test makes a listener that accepts nobody

    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(path)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises((Unsupported, ActuationError)):
            await asyncio.wait_for(Bus.connect(f"unix:path={path}", peer=True, timeout_sec=0.5), 5)
        await asyncio.sleep(0.1)
        assert ticks > 3
        ticking.cancel()
        for client in waiting:
            client.close()


HUGE = struct.pack("<4B3I", ord("l"), 4, 0, 1, 2**31, 1, 0)
GARBAGE = b"GET / HTTP/1.1\r\n\r\n"
# found by mutation: dbus-fast 5.2.0 crashes on it
CRASHER = (
    b"l\x01\x00\x01B\x00\x00\x00\x03\x00\x00\x00M\x00\x00\x00\x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00"
    b"\x02\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00\x03\x01s\x00\x01\x00\x00\x00C\x00\x00\x00\x00\x00\x00\x00"
    b"\x06\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00\x08\x01g\x00\x07a(sv)as\x00\x00\x00\x000\x00\x00\x00\x00v"
    b"\x00\x00\x01\x00\x00\x00x\x00\x05a{sv}\x00\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00k\x00\x00"
    b"t\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00a\x00"
)


@pytest.mark.parametrize(
    ("data", "says"),
    [(HUGE, "message of 2147483664 bytes"), (GARBAGE, "unknown byte order"), (CRASHER, "a string that does not end")],
)
async def test_what_is_no_message_ends_the_connection_with_the_reason(tmp_path: Path, data: bytes, says: str) -> None:
    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await authenticate(reader, writer)
        await read_message(reader)
        writer.write(data)
        await reader.read()

    async with listening(tmp_path, sends):
        bus = await connect_user_manager(UID, run=str(tmp_path))
        with pytest.raises(ActuationError, match=says):
            await bus.call("org.freedesktop.systemd1", "/", "org.freedesktop.systemd1.Manager", "Reload")
        await bus.close()


async def test_a_peer_that_stops_reading_ends_in_a_timeout(tmp_path: Path) -> None:
    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await authenticate(reader, writer)
        await asyncio.sleep(60)

    async with listening(tmp_path, stops) as address:
        bus = await Bus.connect(address, peer=True, timeout_sec=0.3, max_message_bytes=1_000_000)
        large = "x" * 900_000
        calls = [bus.call("a.b", "/", "a.b", "C", "s", [large]) for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, ActuationError) for result in results)
        await bus.close()


async def test_a_peers_signal_is_heard_by_its_content(tmp_path: Path) -> None:
    async with listening(tmp_path, manager) as address:
        bus = await Bus.connect(address, peer=True)
        heard: list[Any] = []
        await bus.listen(Rule(sender="org.freedesktop.systemd1", member="Other"), heard.append)
        await bus.call("org.freedesktop.systemd1", "/", "org.freedesktop.systemd1.Manager", "Subscribe")
        with pytest.raises(Gone):
            await bus.call("org.freedesktop.systemd1", "/", "org.freedesktop.systemd1.Manager", "StopUnit", "s", ["a"])
        assert heard == []
        await bus.close()
