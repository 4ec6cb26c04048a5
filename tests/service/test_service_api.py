from __future__ import annotations

import asyncio
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from governor.bus.label import escape_label
from governor.bus.library import Variant
from governor.model.errors import ActuationError, Gone, PolicyError, Problem, Unsupported
from governor.model.policy import Mode
from tests.service.fake_core import DB_ID, POSITION, WEB, WEB_ID, FakeCore
from tests.service.recordings import Load, recorded

if TYPE_CHECKING:
    from governor.bus.connection import Bus
    from tests.bus.private_bus import PrivateBus

ROOT = "/org/governor1"
MANAGER = "org.governor1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
WEB_PATH = f"{ROOT}/container/{escape_label(f'docker__{WEB_ID}')}"
CPU_WEIGHT = [["CPUWeight", Variant("t", 200)]]

pytestmark = pytest.mark.usefixtures("api")


async def ask(
    bus: Bus, member: str, signature: str = "", *body: Any, path: str = ROOT, interface: str = MANAGER
) -> Any:
    answer = await bus.call("org.governor1", path, interface, member, signature, list(body))
    return answer[0] if answer else None


async def busctl(bus: PrivateBus, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "busctl", f"--address={bus.address}", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_list_containers_has_id_name_runtime_unit_and_path(root_client: Bus) -> None:
    rows = [list(row) for row in await ask(root_client, "ListContainers")]
    assert rows[0] == [WEB_ID, "web-1", "docker", f"docker-{WEB_ID}.scope", WEB_PATH]
    assert [row[0] for row in rows] == [WEB_ID, DB_ID]


@pytest.mark.parametrize("wanted", [WEB_ID, f"docker__{WEB_ID}", "web-1", f"docker-{WEB_ID}.scope"])
async def test_get_container_takes_id_key_name_or_unit(root_client: Bus, wanted: str) -> None:
    assert await ask(root_client, "GetContainer", "s", wanted) == WEB_PATH


@pytest.mark.parametrize("wanted", ["", WEB_ID[:12], "web", "*", "x" * 70_000, "\x1b[31m\n"])
async def test_get_container_guesses_nothing(root_client: Bus, wanted: str) -> None:
    with pytest.raises(ActuationError) as raised:
        await ask(root_client, "GetContainer", "s", wanted)
    assert str(raised.value).startswith("org.governor1.Error.NoSuchContainer: there is no container")
    assert len(str(raised.value)) < 500


async def test_an_ambiguous_name_is_an_error_that_lists_the_candidates(root_client: Bus, core: FakeCore) -> None:
    core.all.append(replace(WEB, id="c" * 64, inode=3))
    with pytest.raises(ActuationError, match=rf"docker__{WEB_ID}, docker__{'c' * 64}; name one"):
        await ask(root_client, "GetContainer", "s", "web-1")


async def test_explain_tells_value_original_and_reason(root_client: Bus) -> None:
    weight, memory = await ask(root_client, "Explain", "s", "web-1")
    assert {key: value.value for key, value in weight.items()} == {
        "Property": "CPUWeight",
        "Value": 300,
        "Original": 100,
        "Source": "policy:50-web",
        "Reason": "policy 50-web on web-1",
        "Since": 5,
        "Until": 0,
        "State": "held",
        "Overrides": ["policy:10-all"],
    }
    assert "Value" not in memory
    assert "Original" not in memory


async def test_policies_and_features_are_listed(root_client: Bus) -> None:
    [policy] = await ask(root_client, "ListPolicies")
    assert list(policy) == ["50-web", "/etc/governor/policies.d/50-web.toml", "enforce"]
    rows = [list(row) for row in await ask(root_client, "Doctor")]
    assert rows == [["psi", True, "pressure"], ["bfq", False, "IOWeight"]]


async def test_set_limits_reaches_the_core_with_decoded_values_and_the_callers_uid(
    root_client: Bus, core: FakeCore
) -> None:
    properties = [*CPU_WEIGHT, ["AllowedCPUs", Variant("ay", b"\x05")]]
    await ask(root_client, "SetLimits", "sa(sv)t", WEB_ID, properties, 60_000_000)
    assert core.done == [("set_limits", WEB_ID, {"CPUWeight": 200, "AllowedCPUs": (0, 2)}, 60_000_000, 0)]


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ([], "no property is given"),
        ([["CPUQuota", Variant("t", 1)]], "its property is CPUQuotaPerSecUSec"),
        ([["MemoryHihg", Variant("t", 1)]], 'did you mean "MemoryHigh"'),
        ([["x" * 100_000, Variant("t", 1)]], "is no property"),
        ([["CPUWeight", Variant("u", 1)]], "has the signature t, not u"),
        ([["CPUWeight", Variant("t", 20_000)]], "is not between 1 and 10000"),
        ([["AllowedCPUs", Variant("ay", b"\xff" * 5000)]], "a bitmap of"),
        ([["IPAddressDeny", Variant("a(iayu)", [[99, b"\0\0\0\0", 8]])]], "no address of family 99"),
        ([["DevicePolicy", Variant("s", "open")]], "none of auto, closed, strict"),
        (CPU_WEIGHT * 2, "is given twice"),
    ],
)
async def test_a_bad_property_is_refused_in_words(
    root_client: Bus, core: FakeCore, properties: list[Any], says: str
) -> None:
    with pytest.raises(ActuationError) as raised:
        await ask(root_client, "SetLimits", "sa(sv)t", WEB_ID, properties, 0)
    assert str(raised.value).startswith("org.governor1.Error.BadProperty: ")
    assert says in str(raised.value)
    assert core.done == []


async def test_a_lease_beyond_ten_years_is_refused(root_client: Bus, core: FakeCore) -> None:
    with pytest.raises(ActuationError, match=r"InvalidArgs.*ten years"):
        await ask(root_client, "SetLimits", "sa(sv)t", WEB_ID, CPU_WEIGHT, 2**64 - 1)
    assert core.done == []


async def test_changes_take_full_ids_only(root_client: Bus, core: FakeCore) -> None:
    with pytest.raises(ActuationError, match=r"NoSuchContainer: .*changes take full ids only"):
        await ask(root_client, "Release", "s", "web-1")
    core.all.append(replace(WEB, runtime="podman", inode=3))
    with pytest.raises(ActuationError, match=r"NoSuchContainer: .*is 2 containers"):
        await ask(root_client, "Release", "s", WEB_ID)
    await ask(root_client, "Release", "s", f"podman__{WEB_ID}")
    assert core.done == [("release", WEB_ID)]


async def test_a_protected_container_is_refused_with_the_reason(root_client: Bus, core: FakeCore) -> None:
    core.refusals["web-1"] = "it is a critical unit"
    for member, signature, body in (
        ("SetLimits", "sa(sv)t", [WEB_ID, CPU_WEIGHT, 0]),
        ("Release", "s", [WEB_ID]),
    ):
        with pytest.raises(ActuationError, match=r"org.governor1.Error.Protected: it is a critical unit"):
            await ask(root_client, member, signature, *body)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (PolicyError((Problem(POSITION, "no such key"),)), "org.governor1.Error.BadProperty"),
        (Gone("it ended"), "org.governor1.Error.NoSuchContainer"),
        (Unsupported("no bfq"), "org.governor1.Error.NotSupported"),
        (ActuationError("the kernel has another value"), "org.freedesktop.DBus.Error.Failed"),
        (RuntimeError("/usr/lib/secret"), "org.freedesktop.DBus.Error.Failed"),
    ],
)
async def test_what_the_core_raises_has_its_name_and_no_traceback(
    root_client: Bus, core: FakeCore, error: Exception, name: str
) -> None:
    core.fails_with = error
    with pytest.raises(ActuationError) as raised:
        await ask(root_client, "SetLimits", "sa(sv)t", WEB_ID, CPU_WEIGHT, 0)
    assert str(raised.value).startswith(f"{name}: ")
    assert "secret" not in str(raised.value)
    assert "Traceback" not in str(raised.value)


async def test_a_bad_policy_is_told_with_its_place(root_client: Bus, core: FakeCore) -> None:
    core.fails_with = PolicyError((Problem(POSITION, "no such key"),))
    with pytest.raises(ActuationError, match=r"PolicyInvalid: .*50-web.toml:3:1: no such key"):
        await ask(root_client, "Reload")
    core.fails_with = None
    await ask(root_client, "Reload")
    assert core.done == [("reload",)]


async def test_set_mode(root_client: Bus, core: FakeCore) -> None:
    await ask(root_client, "SetMode", "s", "observe")
    assert core.done == [("set_mode", Mode.OBSERVE)]
    with pytest.raises(ActuationError, match=r"InvalidArgs: 'off' is no mode; it is observe or enforce"):
        await ask(root_client, "SetMode", "s", "off")


@pytest.mark.parametrize(
    ("member", "signature", "body"),
    [
        ("Reload", "s", ["x"]),
        ("Release", "", []),
        ("SetLimits", "sa{sv}t", [WEB_ID, {}, 0]),
        ("SetLimits", "sa(sv)u", [WEB_ID, [], 0]),
        ("SetMode", "o", ["/"]),
        ("ListContainers", "b", [True]),
    ],
)
async def test_a_wrong_signature_is_invalid_args_and_says_which_is_right(
    root_client: Bus, member: str, signature: str, body: list[Any]
) -> None:
    with pytest.raises(ActuationError, match=r"InvalidArgs: \w+ takes \("):
        await ask(root_client, member, signature, *body)


async def test_unknown_things_have_their_standard_errors(root_client: Bus) -> None:
    with pytest.raises(Unsupported, match="UnknownMethod"):
        await ask(root_client, "Explode")
    with pytest.raises(Unsupported, match="UnknownInterface"):
        await ask(root_client, "Explode", interface="org.example.Other")
    with pytest.raises(Gone, match="UnknownObject"):
        await ask(root_client, "Ping", path=f"{ROOT}/container/none", interface="org.freedesktop.DBus.Peer")
    with pytest.raises(Unsupported, match="UnknownProperty"):
        await ask(root_client, "Get", "ss", MANAGER, "Nothing", interface=PROPERTIES)
    with pytest.raises(Unsupported, match="PropertyReadOnly"):
        await ask(root_client, "Set", "ssv", MANAGER, "Mode", Variant("s", "observe"), interface=PROPERTIES)


async def test_the_managers_properties(root_client: Bus) -> None:
    everything = await ask(root_client, "GetAll", "s", MANAGER, interface=PROPERTIES)
    assert {name: (value.signature, value.value) for name, value in everything.items()} == {
        "Version": ("s", "0.1.0"),
        "Mode": ("s", "enforce"),
        "NContainers": ("u", 2),
        "Features": ("as", ["psi"]),
        "LastTickUSec": ("t", 1234),
    }
    assert (await ask(root_client, "Get", "ss", MANAGER, "Mode", interface=PROPERTIES)).value == "enforce"


async def test_a_containers_properties(root_client: Bus) -> None:
    everything = await ask(root_client, "GetAll", "s", "org.governor1.Container", path=WEB_PATH, interface=PROPERTIES)
    shown = {name: value.value for name, value in everything.items() if name not in ("Limits", "Originals")}
    assert shown == {
        "Id": WEB_ID,
        "Name": "web-1",
        "Runtime": "docker",
        "Unit": f"docker-{WEB_ID}.scope",
        "CGroup": f"/system.slice/docker-{WEB_ID}.scope",
        "Image": "nginx:1",
        "Labels": {"tier": "frontend", "secret": "s3cr3t"},
        "Policies": ["50-web"],
    }
    limits = everything["Limits"].value
    assert (limits["CPUWeight"].value, limits["AllowedCPUs"].value) == (300, b"\x03")
    assert set(everything["Originals"].value) == {"CPUWeight"}


async def test_managed_objects_are_all_containers(root_client: Bus) -> None:
    manager = "org.freedesktop.DBus.ObjectManager"
    objects = await ask(root_client, "GetManagedObjects", interface=manager)
    assert set(objects) == {WEB_PATH, WEB_PATH.replace("a" * 64, "b" * 64)}
    assert objects[WEB_PATH]["org.governor1.Container"]["Name"].value == "web-1"


async def test_hostile_names_are_data(root_client: Bus, core: FakeCore) -> None:
    hostile = "a\0b\udcff\x1b[31m\n'\"<node>" + "x" * 70_000
    core.all.append(
        replace(WEB, id="../'\n<", name=hostile, labels={hostile: hostile}, image=hostile, unit="", inode=3)
    )
    rows = await ask(root_client, "ListContainers")
    assert rows[2][1] == "a\ufffdb?\x1b[31m\n'\"<node>" + "x" * 70_000
    path = rows[2][4]
    assert path == f"{ROOT}/container/docker___2e_2e_2f_27_0a_3c".replace("docker___", "docker_5f_5f_")
    everything = await ask(root_client, "GetAll", "s", "", path=path, interface=PROPERTIES)
    assert everything["Id"].value == "../'\n<"
    xml = await ask(root_client, "Introspect", path=path, interface="org.freedesktop.DBus.Introspectable")
    ET.fromstring(xml)
    children = await ask(
        root_client, "Introspect", path=f"{ROOT}/container", interface="org.freedesktop.DBus.Introspectable"
    )
    assert {node.get("name") for node in ET.fromstring(children).findall("node")} == {
        path.rpartition("/")[2] for path in (row[4] for row in rows)
    }


async def test_busctl_introspects_the_manager(api_bus: PrivateBus) -> None:
    output = await busctl(api_bus, "introspect", "org.governor1", ROOT)
    lines = [" ".join(line.split()) for line in output.splitlines()]
    for expected in (
        ".ListContainers method - a(sssso) -",
        ".GetContainer method s o -",
        ".ListPolicies method - a(sss) -",
        ".Reload method - - -",
        ".Explain method s aa{sv} -",
        ".SetLimits method sa(sv)t - -",
        ".Release method s - -",
        ".SetMode method s - -",
        ".LastTickUSec property t 1234 -",
        '.Mode property s "enforce" emits-change',
        ".ContainerAdded signal so - -",
        ".ContainerRemoved signal so - -",
        ".LimitsChanged signal oa{sv} - -",
        ".GetManagedObjects method - a{oa{sa{sv}}} -",
        ".PropertiesChanged signal sa{sv}as - -",
        ".GetMachineId method - s -",
        ".Introspect method - s -",
    ):
        assert expected in lines


async def test_busctl_finds_every_object_and_property(api_bus: PrivateBus) -> None:
    tree = await busctl(api_bus, "--list", "tree", "org.governor1")
    assert {"/org", ROOT, f"{ROOT}/container", WEB_PATH} <= set(tree.split())
    output = await busctl(api_bus, "introspect", "org.governor1", WEB_PATH)
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert '.Name property s "web-1" emits-invalidation' in lines
    assert '.Policies property as 1 "50-web" emits-invalidation' in lines
    assert any(line.startswith('.Limits property a{sv} 2 "CPUWeight" t 300 "AllowedCPUs" ay 1 3') for line in lines)


async def test_busctl_sets_limits(api_bus: PrivateBus, core: FakeCore) -> None:
    await busctl(
        api_bus,
        "call",
        "org.governor1",
        ROOT,
        MANAGER,
        "SetLimits",
        "sa(sv)t",
        WEB_ID,
        "1",
        "MemoryHigh",
        "t",
        "1048576",
        "0",
    )
    assert core.done == [("set_limits", WEB_ID, {"MemoryHigh": 1048576}, 0, 0)]


async def test_the_table_and_the_introspection_are_the_same(root_client: Bus) -> None:
    xml = await ask(root_client, "Introspect", interface="org.freedesktop.DBus.Introspectable")
    node = ET.fromstring(xml)
    names = [interface.get("name") for interface in node.findall("interface")]
    assert names == [
        "org.freedesktop.DBus.Peer",
        "org.freedesktop.DBus.Introspectable",
        PROPERTIES,
        "org.freedesktop.DBus.ObjectManager",
        MANAGER,
    ]
    for interface in node.findall("interface"):
        for method in interface.findall("method"):
            takes = "".join(arg.get("type", "") for arg in method.findall("arg[@direction='in']"))
            with pytest.raises(ActuationError, match="InvalidArgs"):
                await ask(
                    root_client,
                    method.get("name", ""),
                    f"{takes}d",
                    *_junk(takes),
                    1.0,
                    interface=interface.get("name", ""),
                )


def _junk(signature: str) -> list[Any]:
    junk: dict[str, list[Any]] = {
        "": [],
        "s": ["x"],
        "ss": ["x", "y"],
        "ssv": ["x", "y", Variant("s", "z")],
        "sa(sv)t": ["x", [], 0],
        "say": ["x", b""],
    }
    return junk[signature]


CONTROL = '[match]\nname = "web-*"\n[limits]\nCPUQuota = "250%"\n[control.cpu-throttle]\ntarget = "5%"\n'


async def test_a_policy_is_simulated_over_a_recording(root_client: Bus) -> None:
    rows, missing = await root_client.call(
        "org.governor1", ROOT, MANAGER, "Simulate", "say", [CONTROL, recorded({"web-1": Load(length=300)}, 300)]
    )
    assert missing == ""
    assert {(row[2], row[3]) for row in rows} == {("cpu-throttle", "decided")}
    assert all("quota" in row[4] for row in rows)


@pytest.mark.parametrize(
    ("policy", "recording", "error"),
    [("[match", recorded({"web-1": Load()}, 1), "PolicyInvalid"), (CONTROL, b"nonsense", "InvalidArgs")],
)
async def test_a_simulation_of_nonsense_is_refused_in_words(
    root_client: Bus, policy: str, recording: bytes, error: str
) -> None:
    with pytest.raises(ActuationError, match=error):
        await ask(root_client, "Simulate", "say", policy, recording)


async def test_ping_and_machine_id(root_client: Bus) -> None:
    peer = "org.freedesktop.DBus.Peer"
    assert await ask(root_client, "Ping", interface=peer) is None
    try:
        assert len(await ask(root_client, "GetMachineId", interface=peer)) == 32
    except ActuationError as error:
        assert "this host has no machine id" in str(error)  # noqa: PT017 both are right, as the host is
