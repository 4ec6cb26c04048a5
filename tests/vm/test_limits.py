"""The main job: containers of every kind, started before and after the daemon, get their limits in the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.governed import Container, Governed

pytestmark = pytest.mark.bookworm

POLICY = """
[match]
runtime = ["docker", "podman", "containerd", "nspawn"]

[limits]
CPUQuota = "50%"
MemoryHigh = "96M"
TasksMax = 77
IOWriteBandwidthMax = ["/dev/vdb 2M"]
"""
SETTINGS = "[governor]\nkubernetes = { write = true }\n"

LIMITS = {"cpu.max": "50000 100000", "memory.high": str(96 << 20), "pids.max": "77"}


def assert_limited(governed: Governed, container: Container) -> None:
    for file, value in LIMITS.items():
        governed.wait_value(container, file, value, timeout=60)
    assert "wbps=2000000" in governed.value(container, "io.max")


@pytest.fixture(scope="module")
def containers(governed: Governed) -> dict[str, Container]:
    """Start one of each before and one of each after the daemon."""
    governed.stop()
    governed.guest.write("/etc/governor/governor.toml", SETTINGS)
    governed.policy("50-all", POLICY)
    found = start_each(governed, "before")
    governed.start()
    return found | start_each(governed, "after")


def start_each(governed: Governed, when: str) -> dict[str, Container]:
    from tests.vm.governed import Container  # noqa: PLC0415 - the name is for types alone above

    pod = governed.guest.cri(name=when)
    path = governed.guest.run("find", "/sys/fs/cgroup", "-name", f"cri-containerd-{pod.container}.scope").stdout.strip()
    return {
        f"docker {when}": governed.docker(f"d-{when}", "-m", "200m"),
        f"podman {when}": governed.podman(f"p-{when}"),
        f"ctr {when}": governed.ctr(f"c-{when}"),
        f"cri {when}": Container(pod.container, path.removeprefix("/sys/fs/cgroup")),
        f"nspawn {when}": governed.nspawn(f"m{when}"),
        **quadlet(governed, when),
    }


def quadlet(governed: Governed, when: str) -> dict[str, Container]:
    """Return a Quadlet container where this podman has Quadlet (it came with 4.4)."""
    if not governed.guest.exists("/usr/lib/systemd/system-generators/podman-system-generator"):
        return {}
    return {f"quadlet {when}": governed.quadlet(f"q-{when}")}


KINDS = ("docker", "podman", "quadlet", "ctr", "cri", "nspawn")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_container_gets_its_limits(
    governed: Governed, containers: dict[str, Container], kind: str, when: str
) -> None:
    if kind == "quadlet" and "quadlet after" not in containers:
        pytest.skip("this podman has no Quadlet (it came with 4.4)")
    container = containers[f"{kind} {when}"]
    assert_limited(governed, container)
    if kind == "quadlet":
        # its cgroup is below its service's, which is not touched: the limit is the container's, not the monitor's too
        service = container.cgroup.rpartition("/")[0]
        assert governed.guest.read(f"/sys/fs/cgroup{service}/memory.high").strip() == "max"


def test_the_runtimes_own_limit_that_no_policy_names_stays(
    governed: Governed, containers: dict[str, Container]
) -> None:
    for when in ("before", "after"):
        assert governed.value(containers[f"docker {when}"], "memory.max") == str(200 << 20)
        assert governed.value(containers[f"docker {when}"], "memory.swap.max") == str(200 << 20)


def test_the_pods_sandbox_is_no_container(governed: Governed, containers: dict[str, Container]) -> None:
    assert containers
    names = governed.guest.sh("governorctl list --json").stdout
    for container in containers.values():
        assert container.id in names
    sandboxes = governed.guest.sh("ctr -n k8s.io containers ls -q").stdout.split()
    pods = {containers["cri before"].id, containers["cri after"].id}
    assert all(sandbox not in names for sandbox in sandboxes if sandbox not in pods)


def test_the_journal_says_why_and_where(governed: Governed, containers: dict[str, Container]) -> None:
    container = containers["docker after"]
    entries = governed.journal("GOVERNOR_PROPERTY=MemoryHigh", f"OBJECT_SYSTEMD_UNIT={container.unit}")
    assert entries
    assert entries[-1]["GOVERNOR_POLICY"] == "50-all"
    assert "50-all.toml" in entries[-1]["GOVERNOR_REASON"]
    assert entries[-1]["GOVERNOR_NEW"] == "96M"
    shown = governed.guest.sh(f"journalctl --no-pager -u {container.unit}").stdout
    assert "MemoryHigh" in shown


def test_stopping_takes_every_limit_back(governed: Governed, containers: dict[str, Container]) -> None:
    governed.stop()
    for container in containers.values():
        assert governed.value(container, "memory.high") == "max"
        assert governed.value(container, "cpu.max") == "max 100000"
        assert "wbps=2000000" not in governed.value(container, "io.max")
    assert governed.value(containers["docker after"], "memory.max") == str(200 << 20)
    assert governed.ledger_is_empty()
