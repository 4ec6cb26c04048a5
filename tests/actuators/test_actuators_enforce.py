"""One container over all its sites: nested cgroups, bursts and quotas, drift; and what is never written."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from governor.actuators import protect, sites
from governor.actuators.apply import Circumstances
from governor.actuators.devices import Devices
from governor.actuators.enforce import Enforcer
from governor.actuators.ledger import Entry
from governor.actuators.observe import Observer
from governor.actuators.restore import Restorer
from governor.model.container import Container, Pod
from governor.model.errors import Gone
from governor.model.lease import TargetKind
from governor.model.policy import HostSettings, Setting
from governor.model.tick import Change, Outcome
from governor.model.values import INFINITY
from tests.actuators.conftest import FILES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from governor.actuators.drop_ins import DropIns
    from governor.bus.systemd import Systemd
    from governor.model.values import Value
    from tests.actuators.conftest import Tree


async def no_manager(uid: int | None) -> Systemd:
    raise AssertionError(f"a cgroup without a unit asked for the manager of {uid}")


@pytest.fixture
def nested(tree: Tree) -> Path:
    directory = tree.directory / "container"
    directory.mkdir()
    for name, text in FILES.items():
        (directory / name).write_text(text)
    return directory


@pytest.fixture
def enforcer(tree: Tree) -> Enforcer:
    return Enforcer(
        root=tree.root,
        host=tree.host,
        ledger=tree.ledger,
        applier=tree.applier,
        manager=no_manager,
        guard=Devices(),
    )


def container(tree: Tree, **changes: str | bool | int | Pod) -> Container:
    values = {
        "runtime": "containerd",
        "namespace": "default",
        "id": "x",
        "name": "x",
        "cgroup": "/default/x",
        "inode": tree.cgroup.inode,
        **changes,
    }
    return Container(**values)  # type: ignore[arg-type]


def settings(values: Mapping[str, Value]) -> dict[str, Setting]:
    return {name: Setting(value=value, source="policy:a", reason="test") for name, value in values.items()}


async def enforce(enforcer: Enforcer, what: Container, values: Mapping[str, Value]) -> dict[str, Change]:
    changes = await enforcer.enforce(what, settings(values), Circumstances())
    return {change.property: change for change in changes}


async def test_a_nested_cgroup_is_raised_with_its_scope_and_restored_with_it(
    tree: Tree, nested: Path, enforcer: Enforcer
) -> None:
    (nested / "pids.max").write_text("10\n")
    (nested / "cpu.max").write_text("max 100000\n")
    what = container(tree, payload="/default/x/container")
    await enforce(enforcer, what, {"TasksMax": 50, "CPUQuotaPerSecUSec": 200_000})
    assert (tree.value("pids.max"), (nested / "pids.max").read_text()) == ("50", "50")
    assert (nested / "cpu.max").read_text() == "max 100000\n"
    await enforce(enforcer, what, {})
    assert (tree.value("pids.max"), (nested / "pids.max").read_text()) == ("max", "10")
    assert list(tree.ledger.entries()) == []


async def test_drift_is_seen_in_the_files_of_both(tree: Tree, nested: Path, enforcer: Enforcer) -> None:
    (nested / "pids.max").write_text("10\n")
    what = container(tree, payload="/default/x/container")
    assert not enforcer.drifted(what)
    await enforce(enforcer, what, {"TasksMax": 50})
    assert not enforcer.drifted(what)
    (nested / "pids.max").write_text("20\n")
    assert enforcer.drifted(what)
    await enforce(enforcer, what, {"TasksMax": 50})
    assert not enforcer.drifted(what)
    assert (nested / "pids.max").read_text() == "20\n"


async def test_what_is_set_below_the_scope_is_the_value_in_force(tree: Tree, nested: Path, enforcer: Enforcer) -> None:
    what, wanted = container(tree, payload="/default/x/container"), {"CPUQuotaPerSecUSec": 500_000, "TasksMax": 50}
    await enforce(enforcer, what, wanted)
    (nested / "cpu.max").write_text("80000 100000\n")
    assert enforcer.drifted(what)
    change = (await enforce(enforcer, what, wanted))["CPUQuotaPerSecUSec"]
    assert (change.outcome, change.old, change.new) == (Outcome.YIELDED, 500_000, 800_000)
    assert (tree.value("cpu.max"), (nested / "cpu.max").read_text()) == ("max 100000", "80000 100000\n")
    (nested / "cpu.max").write_text("30000 100000\n")
    assert await enforce(enforcer, what, wanted) == {}
    assert (tree.value("cpu.max"), (nested / "cpu.max").read_text()) == ("max 100000", "30000 100000\n")
    assert tree.value("pids.max") == "50"
    enforcer.unyield(what)
    await enforce(enforcer, what, wanted)
    assert (tree.value("cpu.max"), (nested / "cpu.max").read_text()) == ("50000 100000", "50000 100000")
    await enforce(enforcer, what, {})
    assert (tree.value("cpu.max"), (nested / "cpu.max").read_text()) == ("max 100000", "30000 100000")
    assert list(tree.ledger.entries()) == []


async def test_a_changed_policy_takes_up_what_was_left_to_others(tree: Tree, nested: Path, enforcer: Enforcer) -> None:
    what = container(tree, payload="/default/x/container")
    await enforce(enforcer, what, {"TasksMax": 50})
    (nested / "pids.max").write_text("20\n")
    await enforce(enforcer, what, {"TasksMax": 50})
    assert (tree.value("pids.max"), (nested / "pids.max").read_text()) == ("max", "20\n")
    await enforce(enforcer, what, {"TasksMax": 40})
    assert (tree.value("pids.max"), (nested / "pids.max").read_text()) == ("40", "40")


async def test_what_the_runtime_sets_below_before_the_payload_runs_is_no_drift(
    tree: Tree, nested: Path, enforcer: Enforcer
) -> None:
    what, wanted = container(tree, payload="/default/x/container"), settings({"TasksMax": 50})
    await enforcer.enforce(what, wanted, Circumstances(settling=True))
    (nested / "pids.max").write_text("2048\n")
    await enforcer.enforce(what, wanted, Circumstances(settling=True))
    assert await enforcer.enforce(what, wanted, Circumstances()) == []
    assert tree.value("pids.max") == "50"


async def test_a_property_without_a_file_is_refused_where_there_is_no_unit(tree: Tree, enforcer: Enforcer) -> None:
    changes = await enforce(enforcer, container(tree), {"IPAddressDeny": ("0.0.0.0/0",), "TasksMax": 5})
    assert changes["IPAddressDeny"].outcome is Outcome.REFUSED
    assert "no systemd unit" in changes["IPAddressDeny"].detail
    assert changes["TasksMax"].outcome is Outcome.APPLIED


async def test_a_path_without_a_device_is_refused_and_the_rest_applies(tree: Tree, enforcer: Enforcer) -> None:
    changes = await enforce(enforcer, container(tree), {"IOReadBandwidthMax": (("/nowhere", 5),), "TasksMax": 5})
    assert changes["IOReadBandwidthMax"].outcome is Outcome.REFUSED
    assert tree.value("pids.max") == "5"


async def test_another_cgroup_at_the_same_path_is_another_container(tree: Tree, enforcer: Enforcer) -> None:
    with pytest.raises(Gone):
        await enforce(enforcer, container(tree, inode=tree.cgroup.inode + 1), {"TasksMax": 5})
    assert tree.value("pids.max") == "max"


async def test_a_burst_that_the_container_came_with_fits_the_new_quota(tree: Tree, enforcer: Enforcer) -> None:
    tree.put("cpu.max", "80000 100000")
    tree.put("cpu.max.burst", "70000")
    what = container(tree)
    await enforce(enforcer, what, {"CPUQuotaPerSecUSec": 200_000})
    assert (tree.value("cpu.max"), tree.value("cpu.max.burst")) == ("20000 100000", "20000")
    await enforce(enforcer, what, {})
    assert (tree.value("cpu.max"), tree.value("cpu.max.burst")) == ("80000 100000", "70000")


async def test_observing_writes_nothing_and_says_what_it_would(tree: Tree, enforcer: Enforcer) -> None:
    observer = Observer(tree.host, lambda what: enforcer.hold(what).scope)
    [change] = await observer.observe(container(tree), settings({"TasksMax": 5, "MemoryMax": INFINITY}))
    assert (change.property, change.outcome, change.new) == ("TasksMax", Outcome.OBSERVED, 5)
    assert tree.value("pids.max") == "max"


async def test_the_restorer_needs_only_the_ledger(tree: Tree, nested: Path, enforcer: Enforcer) -> None:
    (nested / "pids.max").write_text("10\n")
    await enforce(enforcer, container(tree, payload="/default/x/container"), {"TasksMax": 50, "MemorySwapMax": 0})
    restorer = Restorer(
        root=tree.root,
        host=tree.host,
        ledger=tree.ledger,
        applier=tree.applier,
        drop_ins=cast("DropIns", None),
        manager=no_manager,
    )
    results = await restorer.restore(tree.ledger.entries())
    assert {result.outcome for _, result in results} == {Outcome.RESTORED}
    assert (tree.value("pids.max"), tree.value("memory.swap.max")) == ("max", "max")
    assert (nested / "pids.max").read_text() == "10"
    assert list(tree.ledger.entries()) == []


def test_a_device_limit_leaves_the_other_devices_limits(tree: Tree) -> None:
    below = (("8:0", 100), ("8:16", 50))
    assert sites.overlay(below, (("8:16", 70), ("9:0", 1))) == (("8:0", 100), ("8:16", 70), ("9:0", 1))
    assert Entry(target=sites.file_target("/x", 1)).target.kind is TargetKind.FILE
    assert tree


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/", ""),
        ("/system.slice", "system.slice"),
        ("/init.scope", "init.scope"),
        ("/system.slice/dbus.service", "dbus.service"),
        ("/system.slice/systemd-journald.service", "systemd-journald.service"),
        ("/system.slice/ssh.service", "ssh.service"),
        ("/system.slice/docker.service", "docker.service"),
        ("/system.slice/containerd.service/x", ""),
        ("/user.slice/user-0.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service"),
        ("/system.slice/governor.service", "governor.service"),
        ("/machine.slice/libpod-conmon-abc.scope", "libpod-conmon-abc.scope"),
        ("/kubepods.slice/kubepods-pod1.slice/cri-containerd-a.scope", "cri-containerd-a.scope"),
        ("/kubepods/burstable/pod1/a", ""),
        ("/system.slice/mine.service", "mine.service"),
    ],
)
def test_what_is_never_written(tree: Tree, cgroup: str, unit: str) -> None:
    host = HostSettings(protected=("mine.*",))
    assert protect.refusal(container(tree, cgroup=cgroup, unit=unit), host, "/system.slice/governor.service")


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/docker-ab.scope", "docker-ab.scope"),
        ("/machine.slice/systemd-nspawn@web.service", "systemd-nspawn@web.service"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-a.scope", "libpod-a.scope"),
        ("/default/x", ""),
        ("/system.slice/web.service", "web.service"),
    ],
)
def test_what_may_be_written(tree: Tree, cgroup: str, unit: str) -> None:
    what = container(tree, cgroup=cgroup, unit=unit)
    assert protect.refusal(what, HostSettings(), "/system.slice/governor.service") is None


def test_kubepods_may_be_written_only_when_told_so(tree: Tree) -> None:
    pod = container(tree, pod=Pod(uid="u", qos="burstable"))
    assert "kubelet" in str(protect.refusal(pod, HostSettings(), "/"))
    assert protect.refusal(pod, HostSettings(kubernetes_write=True), "/") is None


async def test_what_this_systemd_lacks_is_refused_in_words(tree: Tree) -> None:
    lacking = {"TasksMax": "this systemd was built without it"}
    enforcer = Enforcer(
        root=tree.root,
        host=tree.host,
        ledger=tree.ledger,
        applier=tree.applier,
        manager=no_manager,
        guard=Devices(),
        lacking=lacking,
    )
    changes = await enforce(enforcer, container(tree), {"TasksMax": 7, "MemoryHigh": 1 << 30})
    assert (changes["TasksMax"].outcome, changes["TasksMax"].detail) == (Outcome.REFUSED, lacking["TasksMax"])
    assert changes["MemoryHigh"].outcome is Outcome.APPLIED
    assert tree.value("pids.max") == "max"
