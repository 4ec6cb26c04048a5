"""Somebody else's change is seen, respected and reported; systemd's own rewriting is not mistaken for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.governed import Governed

POLICY = """
[match]
runtime = ["docker", "podman"]

[limits]
CPUQuota = "50%"
TasksMax = 77
"""


@pytest.fixture(scope="module", autouse=True)
def _policy(governed: Governed) -> None:
    governed.policy("50-all", POLICY)


@pytest.mark.bookworm
@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_an_update_by_the_user_ends_in_the_users_value(governed: Governed, runtime: str) -> None:
    start = governed.docker if runtime == "docker" else governed.podman
    container = start(f"u-{runtime}")
    governed.wait_value(container, "cpu.max", "50000 100000")
    governed.wait_value(container, "pids.max", "77")
    governed.guest.sh(f"{runtime} update --cpus 0.8 u-{runtime}", timeout=120)
    governed.wait_value(container, "cpu.max", "80000 100000")
    governed.guest.wait_until(
        f"journalctl --no-pager -o cat SYSLOG_IDENTIFIER=governor GOVERNOR_OUTCOME=yielded | grep u-{runtime}", 30
    )
    assert governed.explained(container)["CPUQuotaPerSecUSec"]["State"].startswith("yielded")
    if runtime == "docker":  # podman's update sets everything anew, so that is the user's too
        assert governed.value(container, "pids.max") == "77"
    governed.guest.run("systemctl", "restart", "governor", timeout=120)
    governed.guest.sh("sleep 3")
    assert governed.value(container, "cpu.max") == "80000 100000"
    governed.stop()
    assert governed.value(container, "cpu.max") == "80000 100000"
    assert governed.value(container, "pids.max") != "77"
    governed.start()


@pytest.mark.bookworm
def test_release_takes_a_yielded_limit_up_again(governed: Governed) -> None:
    container = governed.docker("again")
    governed.wait_value(container, "pids.max", "77")
    governed.guest.sh("sleep 3")  # in its first moments a container's values are still taken for the runtime's own
    governed.guest.sh(f"echo 55 >/sys/fs/cgroup{container.cgroup}/pids.max")
    governed.guest.wait_until(f"governorctl explain {container.id} --json | grep -q yielded", 30)
    governed.guest.run("governorctl", "release", container.id)
    governed.wait_value(container, "pids.max", "77")


def test_daemon_reload_and_reexec_leave_every_limit_intact(governed: Governed) -> None:
    old = [governed.docker("r1"), governed.podman("r2")]
    for container in old:
        governed.wait_value(container, "cpu.max", "50000 100000")
    for round_number in range(3):
        governed.guest.run("systemctl", "daemon-reload", timeout=120)
        young = governed.docker(f"young{round_number}")
        governed.guest.run("systemctl", "daemon-reexec", timeout=120)
        governed.wait_value(young, "cpu.max", "50000 100000", timeout=60)
        governed.guest.sh(f"docker rm -f young{round_number}", timeout=120)
        for container in old:
            governed.wait_value(container, "cpu.max", "50000 100000", timeout=30)
            governed.wait_value(container, "pids.max", "77", timeout=30)
    for container in old:
        assert not governed.explained(container)["CPUQuotaPerSecUSec"]["State"].startswith("yielded")


def test_three_hundred_scopes_come_and_go_and_nothing_stays(governed: Governed) -> None:
    governed.policy("60-scopes", '[match]\nunit = "storm-*.scope"\n[limits]\nTasksMax = 55\n')
    script = (
        "for i in $(seq 300); do systemd-run -q --scope --unit=storm-$i.scope --collect sleep 0.2 & "
        "[ $((i % 8)) = 0 ] && wait; done; wait"
    )
    governed.guest.sh(script, timeout=600)
    last = governed.scope("storm-last")
    governed.wait_value(last, "pids.max", "55", timeout=60)
    assert governed.guest.sh("systemctl is-active governor").stdout.strip() == "active"
    left = governed.guest.sh("grep -l storm- /run/governor/ledger/* 2>/dev/null | wc -l").stdout.strip()
    governed.guest.wait_until("[ $(grep -l storm- /run/governor/ledger/* | wc -l) -le 1 ]", 60)
    assert int(left) >= 1
    restarts = governed.guest.sh("systemctl show -P NRestarts governor").stdout.strip()
    assert restarts == "0"


@pytest.mark.bookworm
def test_the_bus_dies_and_returns(governed: Governed) -> None:
    container = governed.podman("bus")
    governed.wait_value(container, "pids.max", "77")
    governed.guest.sh("systemctl restart dbus.service", timeout=120, check=False)
    governed.guest.wait_until("busctl call org.governor1 /org/governor1 org.governor1.Manager ListContainers", 60)
    again = governed.podman("bus2")
    governed.wait_value(again, "pids.max", "77", timeout=60)
    assert governed.value(container, "pids.max") == "77"
