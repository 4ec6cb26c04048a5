from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import dbus_next
import pytest

from governor.bus.systemd import Systemd, connect_user_manager, user_bus_address
from governor.bus.units import assignments, cgroup_interface, runtime_drop_in_path
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.service.lacking import lacking
from tests.bus.fake_systemd import FakeSystemd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from governor.bus.connection import Bus
    from governor.model.values import Value
    from tests.bus.private_bus import PrivateBus

UNIT = "docker-0a.scope"


@pytest.fixture
def systemd(bus: Bus, fake_systemd: FakeSystemd) -> Systemd:
    fake_systemd.add_unit(UNIT)
    return Systemd(bus)


async def wait_until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 what is waited for happens in another process
            await asyncio.sleep(0.01)


VALUES: dict[str, Value] = {
    "CPUWeight": 300,
    "MemoryHigh": 512 << 20,
    "AllowedCPUs": (0, 2),
    "IOReadBandwidthMax": (("/", 1), ("/var", 2)),
    "IPAddressDeny": ("10.0.0.0/8", "fe80::/10"),
    "SocketBindDeny": ((2, 6, 10, 8000),),
    "RestrictNetworkInterfaces": (True, ("eth0", "lo")),
    "DevicePolicy": "closed",
    "DeviceAllow": (("/dev/null", "rw"),),
    "ManagedOOMMemoryPressureLimit": 6000,
    "IPAccounting": True,
}


async def test_what_is_set_can_be_read_back(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    await systemd.set_unit_properties(UNIT, VALUES)
    assert await systemd.get_limits(UNIT, VALUES) == VALUES
    member, body = fake_systemd.calls[0]
    assert (member, body[0], body[1]) == ("SetUnitProperties", UNIT, True)


async def test_what_it_was_built_without_is_lacking(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    assert "-BPF_FRAMEWORK" in await systemd.build_features()
    found = await lacking(systemd)
    assert set(found) == {"SocketBindAllow", "SocketBindDeny", "RestrictNetworkInterfaces"}
    assert all("-BPF_FRAMEWORK" in words for words in found.values())
    fake_systemd.features = "+PAM +BPF_FRAMEWORK"
    assert await lacking(systemd) == {}


async def test_setting_a_list_again_replaces_it(systemd: Systemd) -> None:
    await systemd.set_unit_properties(UNIT, VALUES)
    lists: dict[str, Value] = {
        "IOReadBandwidthMax": (("/tmp", 5),),
        "RestrictNetworkInterfaces": (True, ("eth1",)),
        "IPAddressDeny": (),
    }
    await systemd.set_unit_properties(UNIT, lists)
    assert await systemd.get_limits(UNIT, lists) == lists


async def test_one_call_sets_all_properties_of_a_unit(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    await systemd.set_unit_properties(UNIT, {"CPUWeight": 1, "MemoryHigh": 2}, runtime=False)
    assert [(member, body[1], len(body[2])) for member, body in fake_systemd.calls] == [("SetUnitProperties", False, 2)]


async def test_a_property_that_this_systemd_lacks_is_unsupported_to_set_and_absent_to_read(
    systemd: Systemd, fake_systemd: FakeSystemd
) -> None:
    fake_systemd.unknown_properties = {"MemoryZSwapMax"}
    with pytest.raises(Unsupported, match="unknown property"):
        await systemd.set_unit_properties(UNIT, {"MemoryZSwapMax": 1})
    await systemd.set_unit_properties(UNIT, {"CPUWeight": 7})
    assert await systemd.get_limits(UNIT, ["MemoryZSwapMax", "CPUWeight"]) == {"CPUWeight": 7}


async def test_many_properties_are_read_with_one_call(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    await systemd.set_unit_properties(UNIT, VALUES)
    fake_systemd.calls.clear()
    names = [*VALUES, "TasksMax", "IOWeight", "MemoryMin", "MemoryLow", "MemoryMax", "MemorySwapMax"]
    assert await systemd.get_limits(UNIT, names) == VALUES
    assert [member for member, _ in fake_systemd.calls] == ["GetUnit", "GetAll"]


async def test_a_unit_that_is_not_loaded_is_gone_and_is_not_loaded_by_asking(
    systemd: Systemd, fake_systemd: FakeSystemd
) -> None:
    for ask in (
        systemd.unit_facts("gone.scope"),
        systemd.get_limits("gone.scope", ["CPUWeight"]),
        systemd.unit_job("gone.scope"),
    ):
        with pytest.raises(Gone, match="NoSuchUnit"):
            await ask
    assert {member for member, _ in fake_systemd.calls} == {"GetUnit"}


async def test_facts(systemd: Systemd) -> None:
    facts = await systemd.unit_facts(UNIT)
    assert facts.control_group == f"/system.slice/{UNIT}"
    assert facts.invocation_id == "000102030405060708090a0b0c0d0e0f"
    assert (facts.transient, facts.delegate, facts.slice) == (True, True, "system.slice")
    assert facts.fragment_path == f"/run/systemd/transient/{UNIT}"
    assert facts.drop_ins == ("/run/a.conf",)


async def test_an_answer_of_another_type_is_an_error_not_a_crash(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    fake_systemd.add_unit("odd.scope", ControlGroup=dbus_next.Variant("u", 5), CPUWeight=dbus_next.Variant("s", "x"))
    with pytest.raises(ActuationError, match="not understood"):
        await systemd.unit_facts("odd.scope")
    with pytest.raises(ActuationError, match="not understood"):
        await systemd.get_limits("odd.scope", ["CPUWeight"])


async def test_units_by_pattern_and_by_cgroup(systemd: Systemd) -> None:
    [unit] = await systemd.list_units(["docker-*.scope"])
    assert (unit.name, unit.load, unit.active, unit.sub) == (UNIT, "loaded", "active", "running")
    assert await systemd.get_unit_by_control_group(f"/system.slice/{UNIT}/child") == UNIT
    with pytest.raises(Gone):
        await systemd.get_unit_by_control_group("/elsewhere")


async def test_the_job_tells_a_restart_from_a_stop(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    assert await systemd.unit_job(UNIT) is None
    fake_systemd.jobs[UNIT] = (7, "restart")
    assert await systemd.unit_job(UNIT) == "restart"


async def test_the_other_calls_arrive_as_systemd_takes_them(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    await systemd.start_transient_timer("governor-restore", 30_000_000, ["/bin/true", "-x"], "Restore")
    await systemd.stop_unit("a.timer")
    await systemd.freeze_unit(UNIT)
    await systemd.thaw_unit(UNIT)
    await systemd.kill_unit(UNIT, 15)
    await systemd.reload()
    start, *others = fake_systemd.calls
    name, mode, timer, [[aux, service]] = start[1]
    assert (name, mode, aux) == ("governor-restore.timer", "replace", "governor-restore.service")
    assert {key: value.value for key, value in timer}["TimersMonotonic"] == [["OnActiveSec", 30_000_000]]
    assert {key: value.value for key, value in service}["ExecStart"] == [["/bin/true", ["/bin/true", "-x"], False]]
    assert others == [
        ("StopUnit", ["a.timer", "replace"]),
        ("FreezeUnit", [UNIT]),
        ("ThawUnit", [UNIT]),
        ("KillUnit", [UNIT, "all", 15]),
        ("Reload", []),
    ]


async def test_signals_reach_the_callbacks(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    heard: list[Any] = []
    await systemd.subscribe(
        unit_new=lambda *told: heard.append(("new", *told)),
        unit_removed=lambda *told: heard.append(("removed", *told)),
        job_removed=lambda *told: heard.append(("job", *told)),
        reloading=lambda begins: heard.append(("reloading", begins)),
    )
    fake_systemd.emit("UnitNew", "so", [UNIT, "/a"])
    fake_systemd.emit("UnitNew", "s", ["not as systemd sends it"])
    fake_systemd.emit("JobRemoved", "uoss", [5, "/job", UNIT, "done"])
    fake_systemd.emit("Reloading", "b", [False])
    fake_systemd.emit("UnitRemoved", "so", [UNIT, "/a"])
    await wait_until(lambda: len(heard) == 4)
    assert heard == [("new", UNIT, "/a"), ("job", 5, UNIT, "done"), ("reloading", False), ("removed", UNIT, "/a")]


async def test_subscribing_again_is_no_error(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    await systemd.subscribe(unit_new=lambda *_: None)
    await systemd.subscribe(unit_removed=lambda *_: None)
    assert len(fake_systemd.subscribers) == 1


async def test_a_new_manager_and_a_new_bus_are_subscribed_to(
    private_bus: PrivateBus, systemd: Systemd, fake_systemd: FakeSystemd
) -> None:
    heard: list[str] = []
    await systemd.subscribe(unit_new=lambda unit, _: heard.append(unit))
    await fake_systemd.stop()
    successor = FakeSystemd(private_bus.address)
    await successor.start()
    await wait_until(lambda: successor.subscribers)
    successor.emit("UnitNew", "so", ["after-reexec.scope", "/a"])
    await wait_until(lambda: heard)
    await successor.stop()
    private_bus.kill()
    await wait_until(lambda: not systemd.bus.connected)
    private_bus.start()
    third = FakeSystemd(private_bus.address)
    await third.start()
    await wait_until(lambda: third.subscribers)
    third.emit("UnitNew", "so", ["after-bus.scope", "/a"])
    await wait_until(lambda: len(heard) == 2)
    assert heard == ["after-reexec.scope", "after-bus.scope"]
    await third.stop()


async def test_writes_in_excess_of_the_rate_wait_but_a_first_touch_does_not(
    bus: Bus, fake_systemd: FakeSystemd
) -> None:
    fake_systemd.add_unit(UNIT)
    systemd = Systemd(bus, writes_per_sec=20, writes_at_once=5)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(systemd.set_unit_properties(UNIT, {"CPUWeight": n + 1}) for n in range(5)))
    assert loop.time() - started < 0.2
    await asyncio.gather(*(systemd.set_unit_properties(UNIT, {"CPUWeight": n + 1}) for n in range(5)))
    assert loop.time() - started >= 0.24


async def test_a_malformed_value_costs_no_call(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    for values in ({"CPUWeight": 0.5}, {"CPUBurstUSec": 5}, {"Nonsense": 1}):
        with pytest.raises((TypeError, ValueError)):
            await systemd.set_unit_properties(UNIT, values)  # type: ignore[arg-type]
    assert fake_systemd.calls == []


async def test_a_hostile_unit_name_is_data(systemd: Systemd, fake_systemd: FakeSystemd) -> None:
    hostile = "a',member='x\n\x1b.scope"
    fake_systemd.add_unit(hostile)
    await systemd.set_unit_properties(hostile, {"CPUWeight": 3})
    assert await systemd.get_limits(hostile, ["CPUWeight"]) == {"CPUWeight": 3}
    with pytest.raises(ActuationError, match="cannot be sent"):
        await systemd.set_unit_properties("a\0.scope", {"CPUWeight": 3})


def test_only_units_with_a_cgroup_have_limits() -> None:
    assert cgroup_interface("a.b.scope") == "org.freedesktop.systemd1.Scope"
    assert cgroup_interface("a@b.service") == "org.freedesktop.systemd1.Service"
    for unit in ("a.timer", "a", ""):
        with pytest.raises(ValueError, match="has no cgroup"):
            cgroup_interface(unit)


def test_an_empty_list_is_sent_once() -> None:
    assert [name for name, _ in assignments({"IPAddressDeny": ()})] == ["IPAddressDeny"]
    assert [name for name, _ in assignments({"IPAddressDeny": ("::/0",)})] == ["IPAddressDeny"] * 2


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("MemoryHigh", "50-MemoryHigh.conf"),
        ("CPUQuotaPerSecUSec", "50-CPUQuota.conf"),
        ("CPUQuotaPeriodUSec", "50-CPUQuotaPeriodSec.conf"),
        ("IODeviceLatencyTargetUSec", "50-IODeviceLatencyTargetUSec.conf"),
    ],
)
def test_the_drop_in_of_a_property(name: str, file: str) -> None:
    assert runtime_drop_in_path("a.service", name) == f"/run/systemd/system.control/a.service.d/{file}"
    user = runtime_drop_in_path("a.service", name, runtime_dir="/run/user/1000/systemd")
    assert user == f"/run/user/1000/systemd/user.control/a.service.d/{file}"


@pytest.mark.parametrize("unit", ["../a.service", "a/b.service", ".service", "a\0.service", "nodot", ""])
def test_what_is_no_units_name_has_no_drop_in(unit: str) -> None:
    with pytest.raises(ValueError, match="no unit's name"):
        runtime_drop_in_path(unit, "MemoryHigh")
    with pytest.raises(TypeError):
        runtime_drop_in_path("a.service", "../../x")


async def test_a_user_without_a_manager_is_unsupported(tmp_path: Path) -> None:
    assert user_bus_address(1000) == "unix:path=/run/user/1000/systemd/private"
    with pytest.raises(Unsupported, match="no D-Bus connection"):
        await connect_user_manager(1000, run=str(tmp_path))
