from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from governor.bus.label import escape_label
from governor.bus.rules import Rule
from governor.model.control import Notify
from governor.model.policy import Mode
from governor.model.step import Step, StepKind
from tests.service.fake_core import DB, DB_ID, POLICY, WEB, WEB_ID, FakeCore, applied

if TYPE_CHECKING:
    from governor.bus.connection import Bus
    from governor.bus.messages import Signal

ROOT = "/org/governor1"
WEB_PATH = f"{ROOT}/container/{escape_label(f'docker__{WEB_ID}')}"
DB_PATH = f"{ROOT}/container/{escape_label(f'docker__{DB_ID}')}"

pytestmark = pytest.mark.usefixtures("api")


@pytest.fixture
async def heard(root_client: Bus) -> list[Signal]:
    signals: list[Signal] = []
    await root_client.listen(Rule(sender="org.governor1", path_namespace=ROOT), signals.append)
    return signals


async def settle(bus: Bus) -> None:
    """Whatever was sent before this call is here when its answer is."""
    await bus.call("org.governor1", "/", "org.freedesktop.DBus.Peer", "Ping")


def told(signals: list[Signal]) -> list[tuple[str, str, list[Any]]]:
    return [(signal.path, signal.member, signal.body) for signal in signals]


async def test_a_container_that_comes_is_announced_by_its_id_only(
    root_client: Bus, core: FakeCore, heard: list[Signal]
) -> None:
    new = replace(WEB, id="c" * 64, inode=3, name="private-name", labels={"a": "private-label"})
    core.all.append(new)
    core.tick(added=(new,))
    await settle(root_client)
    path = WEB_PATH.replace("a" * 64, "c" * 64)
    members = {signal.member: signal for signal in heard}
    assert members["ContainerAdded"].body == ["c" * 64, path]
    assert members["InterfacesAdded"].body[0] == path
    assert members["InterfacesAdded"].signature == "oa{sa{sv}}"
    assert members["PropertiesChanged"].body[1]["NContainers"].value == 3
    assert "private" not in repr([signal.body for signal in heard])


async def test_a_container_that_goes_is_announced(root_client: Bus, core: FakeCore, heard: list[Signal]) -> None:
    core.all.remove(DB)
    core.tick(removed=(DB,))
    await settle(root_client)
    assert told(heard)[:2] == [
        (ROOT, "InterfacesRemoved", [DB_PATH, ["org.governor1.Container"]]),
        (ROOT, "ContainerRemoved", [DB_ID, DB_PATH]),
    ]
    assert heard[2].body[1]["NContainers"].value == 1


async def test_changed_limits_are_told_with_their_values(root_client: Bus, core: FakeCore, heard: list[Signal]) -> None:
    core.tick(changes=(applied(WEB, "CPUWeight", 300), applied(WEB, "AllowedCPUs", (0, 1))))
    await settle(root_client)
    assert [(signal.path, signal.member) for signal in heard] == [
        (ROOT, "LimitsChanged"),
        (WEB_PATH, "PropertiesChanged"),
    ]
    path, limits = heard[0].body
    assert path == WEB_PATH
    assert (limits["CPUWeight"].value, limits["AllowedCPUs"].value) == (300, b"\x03")
    assert heard[1].body[1]["Limits"].value["CPUWeight"].value == 300
    assert heard[1].body[2] == ["Originals"]


async def test_a_tick_in_which_nothing_happened_says_nothing(
    root_client: Bus, core: FakeCore, heard: list[Signal]
) -> None:
    core.tick()
    core.tick()
    await settle(root_client)
    assert heard == []


async def test_a_name_that_became_known_is_invalidated_but_not_told(
    root_client: Bus, core: FakeCore, heard: list[Signal]
) -> None:
    core.all[0] = replace(WEB, name="another")
    core.tick()
    await settle(root_client)
    assert told(heard) == [(WEB_PATH, "PropertiesChanged", ["org.governor1.Container", {}, ["Name", "Policies"]])]


async def test_new_policies_invalidate_every_containers_policies(
    root_client: Bus, core: FakeCore, heard: list[Signal]
) -> None:
    core.loaded = (replace(POLICY, name="60-new"),)
    core.tick()
    await settle(root_client)
    assert told(heard) == [
        (path, "PropertiesChanged", ["org.governor1.Container", {}, ["Policies"]]) for path in (WEB_PATH, DB_PATH)
    ]


async def test_a_new_mode_is_told(root_client: Bus, core: FakeCore, heard: list[Signal]) -> None:
    await root_client.call("org.governor1", ROOT, "org.governor1.Manager", "SetMode", "s", ["observe"])
    await settle(root_client)
    assert core.mode is Mode.OBSERVE
    [signal] = heard
    assert (signal.member, signal.body[1]["Mode"].value) == ("PropertiesChanged", "observe")


async def test_a_notice_before_a_kill_names_the_container_by_its_id_only(
    root_client: Bus, core: FakeCore, heard: list[Signal]
) -> None:
    step = Step(
        kind=StepKind.DECIDED,
        time_usec=1,
        controller="pressure-kill",
        inode=WEB.inode,
        reason="web-1 waits for memory",
        mode=Mode.ENFORCE,
        act=Notify(grace_usec=10_000_000),
    )
    core.tick(steps=((WEB, step), (DB, replace(step, mode=Mode.OBSERVE))))
    await settle(root_client)
    notices = [signal.body for signal in heard if signal.member == "KillNotice"]
    assert notices == [[WEB_ID, WEB_PATH, 10_000_000]]
