"""Who may do what over D-Bus: root, a user with and without polkit's leave."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from governor.bus.label import escape_label
from governor.bus.library import Variant
from governor.service.polkit import Action, Polkit
from governor.service.requests import denied
from tests.service.fake_core import WEB_ID, FakeCore

if TYPE_CHECKING:
    from governor.bus.connection import Bus
    from tests.bus.private_bus import PrivateBus
    from tests.service.fake_polkit import FakePolkit

NOBODY = 65534
MANAGER = ("org.governor1", "/org/governor1", "org.governor1.Manager")
WEB_PATH = f"/org/governor1/container/{escape_label(f'docker__{WEB_ID}')}"
CHANGES = [
    (Action.RELOAD, ["Reload"], ("reload",)),
    (
        Action.SET_LIMITS,
        ["SetLimits", "sa(sv)t", WEB_ID, "1", "CPUWeight", "t", "200", "0"],
        ("set_limits", WEB_ID, {"CPUWeight": 200}, 0, NOBODY),
    ),
    (Action.RELEASE, ["Release", "s", WEB_ID], ("release", WEB_ID)),
    (Action.SET_MODE, ["SetMode", "s", "observe"], ("set_mode", "observe")),
]

pytestmark = [
    pytest.mark.usefixtures("api"),
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root"),
]


@pytest.fixture(autouse=True)
def reachable(api_bus: PrivateBus) -> None:
    """Let another user reach the socket: pytest's directories are closed."""
    for directory in [api_bus.socket.parent, *api_bus.socket.parent.parents]:
        if directory.name.startswith("pytest-"):
            directory.chmod(0o755)
    api_bus.socket.chmod(0o777)


async def as_nobody(bus: PrivateBus, *arguments: str, interactive: bool = False) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "busctl",
        f"--address={bus.address}",
        f"--allow-interactive-authorization={'yes' if interactive else 'no'}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_everybody_may_read_the_list_the_limits_and_the_reasons(api_bus: PrivateBus) -> None:
    for member, arguments in (
        ("ListContainers", []),
        ("Explain", ["s", "web-1"]),
        ("ListPolicies", []),
        ("Doctor", []),
    ):
        code, output = await as_nobody(api_bus, "call", *MANAGER, member, *arguments)
        assert code == 0, output
    code, output = await as_nobody(
        api_bus, "get-property", "org.governor1", WEB_PATH, "org.governor1.Container", "Limits"
    )
    assert code == 0
    assert "CPUWeight" in output


@pytest.mark.parametrize("call", [call for _, call, _ in CHANGES])
async def test_without_polkit_only_root_changes_anything(api_bus: PrivateBus, core: FakeCore, call: list[str]) -> None:
    code, output = await as_nobody(api_bus, "call", *MANAGER, *call)
    assert code != 0
    assert "Access denied" in output
    assert core.done == []


@pytest.mark.parametrize(("action", "call", "done"), CHANGES)
async def test_polkit_decides_for_each_action_apart(
    api_bus: PrivateBus, core: FakeCore, polkit: FakePolkit, action: Action, call: list[str], done: Any
) -> None:
    polkit.allowed = {str(one) for one in Action if one is not action}
    code, output = await as_nobody(api_bus, "call", *MANAGER, *call)
    assert code != 0
    assert "Access denied" in output
    polkit.allowed = {str(action)}
    code, output = await as_nobody(api_bus, "call", *MANAGER, *call)
    assert code == 0, output
    assert core.done == [done]
    assert {asked[1] for asked in polkit.asked} == {str(action)}
    assert all(asked[0].startswith(":") for asked in polkit.asked)


@pytest.mark.parametrize("interactive", [False, True])
async def test_polkit_may_ask_for_a_password_only_if_the_caller_says_so(
    api_bus: PrivateBus, polkit: FakePolkit, *, interactive: bool
) -> None:
    await as_nobody(api_bus, "call", *MANAGER, "Reload", interactive=interactive)
    assert [asked[2] for asked in polkit.asked] == [int(interactive)]


async def test_root_needs_no_polkit(root_client: Bus, core: FakeCore, polkit: FakePolkit) -> None:
    await root_client.call(*MANAGER, "Reload")
    assert core.done == [("reload",)]
    assert polkit.asked == []


@pytest.mark.parametrize("allowed", [False, True])
async def test_labels_are_only_for_whom_polkit_lets_read_details(
    api_bus: PrivateBus, polkit: FakePolkit, *, allowed: bool
) -> None:
    if allowed:
        polkit.allowed = {str(Action.READ_DETAILS)}
    properties = "org.freedesktop.DBus.Properties"
    outputs = [
        await as_nobody(api_bus, "get-property", "org.governor1", WEB_PATH, "org.governor1.Container", "Labels"),
        await as_nobody(
            api_bus, "call", "org.governor1", WEB_PATH, properties, "GetAll", "s", "org.governor1.Container"
        ),
        await as_nobody(api_bus, "call", "org.governor1", WEB_PATH, properties, "GetAll", "s", ""),
        await as_nobody(api_bus, "call", *MANAGER[:2], "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
    ]
    assert [("s3cr3t" in output) for _, output in outputs] == [allowed] * 4
    assert all(code == 0 for code, _ in outputs)


async def test_a_polkit_that_does_not_answer_means_no(root_client: Bus, polkit: FakePolkit) -> None:
    polkit.allowed = {str(Action.RELOAD)}
    judge = Polkit(root_client)
    assert await judge.allows(root_client.unique_name, 1000, Action.RELOAD, interactive=False)
    polkit.delay_sec = 30
    started = asyncio.get_running_loop().time()
    assert not await judge.allows(root_client.unique_name, 1000, Action.RELOAD, interactive=False)
    assert asyncio.get_running_loop().time() - started < 10


async def test_a_caller_that_has_left_may_nothing(root_client: Bus) -> None:
    judge = Polkit(root_client)
    assert await judge.uid_of(":1.99999") is None
    assert not await judge.allows(":1.99999", None, Action.RELOAD, interactive=False)


async def test_the_api_asks_who_the_caller_is_and_believes_nothing_else(root_client: Bus, core: FakeCore) -> None:
    assert await Polkit(root_client).uid_of(root_client.unique_name) == 0
    await root_client.call(*MANAGER, "SetLimits", "sa(sv)t", [WEB_ID, [["CPUWeight", Variant("t", 5)]], 0])
    assert core.done[0][-1] == 0


def test_a_denial_says_what_would_help() -> None:
    denial = denied(Action.SET_MODE)
    assert denial.name == "org.freedesktop.DBus.Error.AccessDenied"
    assert denial.text == "this needs root, or a polkit rule that allows org.governor1.set-mode"
