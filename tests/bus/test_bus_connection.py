from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from governor.bus.connection import Bus
from governor.bus.library import Message, MessageFlag, MessageType
from governor.bus.messages import Call, Failure, Reply, Signal
from governor.bus.rules import Rule
from governor.bus.serving import MAX_CALLS_FROM_ONE
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from tests.bus.fake_systemd import FakeSystemd
    from tests.bus.private_bus import PrivateBus

NAME = "org.example.Echo"
PATH = "/org/example"


async def echo(call: Call) -> Reply | Failure:
    match call.member:
        case "Echo":
            return Reply("s", [call.body[0]])
        case "Sender":
            return Reply("s", [call.sender])
        case "Slow":
            await asyncio.sleep(call.body[0] / 1000)
            return Reply()
        case "Fail":
            return Failure(call.body[0], call.body[1])
        case "Malformed":
            return Reply("t", ["no number"])
        case _:
            raise RuntimeError("/secret/path")


async def wait_until(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 what is waited for happens in another process
            await asyncio.sleep(0.01)


@pytest.fixture
async def server(private_bus: PrivateBus) -> Any:
    connection = await Bus.connect(private_bus.address, timeout_sec=5)
    connection.add_handler(PATH, echo)
    await connection.request_name(NAME)
    yield connection
    await connection.close()


async def ask(bus: Bus, member: str, signature: str = "", *body: Any, **options: Any) -> list[Any]:
    return await bus.call(NAME, PATH, NAME, member, signature, list(body), **options)


@pytest.mark.usefixtures("server")
async def test_a_call_returns_the_values_of_its_reply(bus: Bus) -> None:
    assert await ask(bus, "Echo", "s", "grüße\n") == ["grüße\n"]
    assert await ask(bus, "Sender") == [bus.unique_name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org.freedesktop.systemd1.NoSuchUnit", Gone),
        ("org.freedesktop.DBus.Error.UnknownObject", Gone),
        ("org.freedesktop.DBus.Error.AccessDenied", Unsupported),
        ("org.freedesktop.DBus.Error.NotSupported", Unsupported),
        ("org.freedesktop.DBus.Error.PropertyReadOnly", Unsupported),
        ("org.freedesktop.DBus.Error.InvalidArgs", ActuationError),
        ("com.example.Odd", ActuationError),
    ],
)
@pytest.mark.usefixtures("server")
async def test_an_error_becomes_one_of_ours_with_name_and_text(bus: Bus, name: str, expected: type[Exception]) -> None:
    with pytest.raises(expected) as raised:
        await ask(bus, "Fail", "ss", name, "because")
    assert str(raised.value) == f"{name}: because"


async def test_a_service_that_is_not_there_is_unsupported(bus: Bus) -> None:
    with pytest.raises(Unsupported, match="ServiceUnknown"):
        await bus.call("org.example.Nobody", "/", "org.example.A", "B")


@pytest.mark.usefixtures("server")
async def test_a_late_reply_is_a_failure_in_time_and_leaves_nothing_behind(bus: Bus) -> None:
    started = time.monotonic()
    with pytest.raises(ActuationError, match=r"no reply within 0.1 s"):
        await ask(bus, "Slow", "u", 400, timeout_sec=0.1)
    assert time.monotonic() - started < 0.3
    assert not bus._pending
    await asyncio.sleep(0.5)  # the reply comes in now
    assert await ask(bus, "Echo", "s", "still here") == ["still here"]


@pytest.mark.usefixtures("server")
@pytest.mark.usefixtures("server")
async def test_waiting_for_a_free_slot_counts_as_waiting(private_bus: PrivateBus) -> None:
    narrow = await Bus.connect(private_bus.address, max_in_flight=1)
    slow = asyncio.create_task(ask(narrow, "Slow", "u", 500))
    await asyncio.sleep(0.05)
    with pytest.raises(ActuationError, match="no reply within"):
        await ask(narrow, "Echo", "s", "x", timeout_sec=0.1)
    await slow
    await narrow.close()


@pytest.mark.parametrize(
    ("signature", "body"), [("t", [True]), ("t", ["1"]), ("s", [1]), ("s", []), ("a(sv)", [[["a"]]])]
)
@pytest.mark.usefixtures("server")
async def test_a_body_that_does_not_fit_its_signature_is_a_programming_error(
    bus: Bus, signature: str, body: list[Any]
) -> None:
    with pytest.raises(TypeError):
        await ask(bus, "Echo", signature, *body)
    assert await ask(bus, "Echo", "s", "alive") == ["alive"]


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
@pytest.mark.usefixtures("server")
async def test_text_that_dbus_cannot_carry_does_not_end_the_connection(bus: Bus, text: str) -> None:
    with pytest.raises(ActuationError, match="cannot be sent"):
        await ask(bus, "Echo", "s", text)
    assert await ask(bus, "Echo", "s", "alive") == ["alive"]


async def test_five_hundred_large_calls_in_flight_all_come_back(
    private_bus: PrivateBus, fake_systemd: FakeSystemd
) -> None:
    bus = await Bus.connect(private_bus.address, max_in_flight=500, timeout_sec=60)
    fake_systemd.add_unit("a.scope")
    large = "x" * 100_000
    manager = ("org.freedesktop.systemd1", "/", "org.freedesktop.systemd1.Manager")
    results = await asyncio.gather(
        *(bus.call(*manager, "ListUnitsByPatterns", "asas", [[], [f"{large}{n}"]]) for n in range(500))
    )
    assert [units[0][0] for [units] in results] == ["a.scope"] * 500
    assert sorted(int(body[1][0][100_000:]) for _, body in fake_systemd.calls) == list(range(500))
    await bus.close()


@pytest.mark.usefixtures("server")
async def test_large_replies_all_come_back(bus: Bus) -> None:
    answers = await asyncio.gather(*(ask(bus, "Echo", "s", f"{'y' * 500_000}{n}", timeout_sec=60) for n in range(20)))
    assert [answer[0][500_000:] for answer in answers] == [str(number) for number in range(20)]


async def test_the_connection_comes_back_with_rules_names_and_objects(
    private_bus: PrivateBus, server: Bus, bus: Bus
) -> None:
    heard: list[Signal] = []
    events: list[str] = []
    bus.on_lost(lambda _: events.append("lost"))
    bus.on_restored(lambda: events.append("restored"))
    await bus.listen(Rule(sender=NAME, interface=NAME, member="News"), heard.append)
    private_bus.kill()
    await wait_until(lambda: events == ["lost"])
    assert not bus.connected
    with pytest.raises(ActuationError, match="reconnecting"):
        await ask(bus, "Echo", "s", "nobody there")
    private_bus.start()
    await wait_until(lambda: events == ["lost", "restored"] and server.connected)
    assert await ask(bus, "Echo", "s", "again") == ["again"]
    server.emit(PATH, NAME, "News", "s", ["fresh"])
    await wait_until(lambda: heard)
    assert heard[0].body == ["fresh"]


@pytest.mark.usefixtures("server")
async def test_a_call_under_way_when_the_bus_dies_fails_at_once(private_bus: PrivateBus, bus: Bus) -> None:
    task = asyncio.create_task(ask(bus, "Slow", "u", 60_000))
    await asyncio.sleep(0.1)
    private_bus.kill()
    with pytest.raises(ActuationError, match="disconnected"):
        await asyncio.wait_for(task, 2)


async def test_a_signal_from_another_sender_is_not_heard(private_bus: PrivateBus, server: Bus, bus: Bus) -> None:
    heard: list[Any] = []
    await bus.listen(Rule(sender=NAME, interface=NAME, member="News"), lambda signal: heard.append(signal.body[0]))
    forger = await Bus.connect(private_bus.address)
    forger.emit(PATH, NAME, "News", "s", ["forged"], destination=bus.unique_name)
    await forger.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId")
    server.emit(PATH, NAME, "News", "s", ["true"])
    await wait_until(lambda: heard)
    assert heard == ["true"]
    await forger.close()


async def test_a_new_owner_of_the_name_is_heard_and_the_old_one_no_longer(private_bus: PrivateBus, bus: Bus) -> None:
    heard: list[Any] = []
    await bus.listen(Rule(sender=NAME, interface=NAME, member="News"), lambda signal: heard.append(signal.body[0]))
    for number in range(3):
        owner = await Bus.connect(private_bus.address)
        await owner.request_name(NAME)
        owner.emit(PATH, NAME, "News", "s", [f"owner {number}"])
        await owner.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId")
        await owner.close()
    await wait_until(lambda: len(heard) == 3)
    assert heard == ["owner 0", "owner 1", "owner 2"]


async def test_after_the_undo_nothing_is_heard(server: Bus, bus: Bus) -> None:
    heard: list[Any] = []
    kept: list[Any] = []
    rule = Rule(sender=NAME, interface=NAME)
    undo = await bus.listen(rule, heard.append)
    await bus.listen(rule, kept.append)
    undo()
    undo()
    server.emit(PATH, NAME, "News", "s", ["x"])
    await wait_until(lambda: kept)
    assert heard == []


async def test_a_listener_that_fails_costs_the_others_nothing(
    server: Bus, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    rule = Rule(sender=NAME, interface=NAME)
    await bus.listen(rule, lambda _: next(iter(())))
    await bus.listen(rule, heard.append)
    server.emit(PATH, NAME, "News")
    await wait_until(lambda: heard)
    assert "StopIteration" in caplog.text


@pytest.mark.parametrize("member", ["Crash", "Malformed"])
@pytest.mark.usefixtures("server")
async def test_what_goes_wrong_inside_is_not_shown_to_the_caller(
    bus: Bus, member: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    with pytest.raises(ActuationError) as raised:
        await ask(bus, member)
    assert str(raised.value) == "org.freedesktop.DBus.Error.Failed: internal error; the journal has the details"
    assert caplog.records


@pytest.mark.usefixtures("server")
async def test_one_caller_cannot_take_all_places(private_bus: PrivateBus, bus: Bus) -> None:
    greedy = [asyncio.create_task(ask(bus, "Slow", "u", 400)) for _ in range(MAX_CALLS_FROM_ONE + 5)]
    await asyncio.sleep(0.1)
    other = await Bus.connect(private_bus.address)
    assert await ask(other, "Echo", "s", "my turn") == ["my turn"]
    results = await asyncio.gather(*greedy, return_exceptions=True)
    assert sum("LimitsExceeded" in str(result) for result in results) == 5
    await other.close()


@pytest.mark.usefixtures("server")
async def test_a_path_without_a_handler_is_an_unknown_object(bus: Bus) -> None:
    with pytest.raises(Gone, match="there is no object /org/other"):
        await bus.call(NAME, "/org/other", NAME, "Echo")


@pytest.mark.usefixtures("server")
async def test_a_name_that_another_process_owns_is_refused(bus: Bus) -> None:
    with pytest.raises(ActuationError, match=f"another process owns {NAME}"):
        await bus.request_name(NAME)
    with pytest.raises(Unsupported, match="AccessDenied"):
        await bus.request_name("org.example.Forbidden")


@pytest.mark.usefixtures("server")
async def test_a_call_that_wants_no_reply_gets_none(bus: Bus) -> None:
    fields = {"destination": NAME, "path": PATH, "interface": NAME, "member": "Crash"}
    assert bus._transport is not None
    bus._transport.send(
        Message(message_type=MessageType.METHOD_CALL, flags=MessageFlag.NO_REPLY_EXPECTED, serial=999, **fields)
    )
    assert await ask(bus, "Echo", "s", "next") == ["next"]


async def test_no_bus_is_unsupported_and_says_where(tmp_path: Any) -> None:
    with pytest.raises(Unsupported, match="nothing"):
        await Bus.connect(f"unix:path={tmp_path}/nothing")


async def test_after_close_calls_fail_at_once(private_bus: PrivateBus) -> None:
    bus = await Bus.connect(private_bus.address)
    await bus.close()
    with pytest.raises(ActuationError, match="closed"):
        await bus.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId")
    bus.emit("/a", "org.example.A", "B")
