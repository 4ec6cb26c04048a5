"""The service as a person meets it: reload, bad policies, the journal, D-Bus, governorctl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.governed import Governed

pytestmark = pytest.mark.bookworm

GOOD = '[match]\nname = "{name}"\n[limits]\nTasksMax = {tasks}\n'
BAD = '[match]\nname = "svc"\n[limits]\nTasksMaximum = 5\nMemoryHigh = "12 parsecs"\n'


def test_a_changed_policy_works_at_once_and_a_bad_one_changes_nothing(governed: Governed) -> None:
    container = governed.docker("svc")
    governed.policy("50-svc", GOOD.format(name="svc", tasks=71))
    governed.wait_value(container, "pids.max", "71", timeout=10)
    governed.policy("50-svc", GOOD.format(name="svc", tasks=72))
    governed.wait_value(container, "pids.max", "72", timeout=10)
    governed.policy("50-svc", BAD)
    text = governed.guest.wait_until(
        "journalctl --no-pager -o cat SYSLOG_IDENTIFIER=governor | grep -A9 TasksMaximum", 15
    )
    assert "50-svc.toml:4:1" in text
    assert "TasksMax" in text
    assert "50-svc.toml:5:14" in governed.guest.sh("journalctl --no-pager -o cat SYSLOG_IDENTIFIER=governor").stdout
    assert governed.value(container, "pids.max") == "72"
    governed.guest.run("systemctl", "restart", "governor", timeout=120)
    governed.guest.sh("sleep 3")
    assert governed.value(container, "pids.max") == "72"
    done = governed.guest.sh("governorctl check /etc/governor/policies.d/50-svc.toml", check=False)
    assert done.code == 1
    assert "^" in done.stdout + done.stderr
    governed.policy("50-svc", GOOD.format(name="svc", tasks=73))
    governed.wait_value(container, "pids.max", "73", timeout=15)


def test_systemctl_reload_waits_for_the_new_policies(governed: Governed) -> None:
    container = governed.docker("rel")
    governed.policy("50-rel", GOOD.format(name="rel", tasks=74))
    governed.guest.run("systemctl", "reload", "governor", timeout=60)
    governed.wait_value(container, "pids.max", "74", timeout=10)
    assert governed.guest.sh("systemctl is-active governor").stdout.strip() == "active"


def test_the_catalog_explains_the_journal(governed: Governed) -> None:
    shown = governed.guest.sh(
        "journalctl --no-pager -x SYSLOG_IDENTIFIER=governor GOVERNOR_OUTCOME=applied | tail -40"
    ).stdout
    assert "Subject: A limit was set" in shown
    assert "read back from" in shown


def test_set_and_release_by_hand(governed: Governed) -> None:
    container = governed.docker("hand", "--pids-limit", "200")
    governed.guest.run("governorctl", "set", "hand", "TasksMax=55", "CPUQuota=30%", "--for", "20s")
    assert governed.value(container, "pids.max") == "55"
    assert governed.value(container, "cpu.max") == "30000 100000"
    row = governed.explained(container)["TasksMax"]
    assert row["Source"] == "user:0"
    governed.guest.run("systemctl", "restart", "governor", timeout=120)
    assert governed.value(container, "pids.max") == "55"
    governed.wait_value(container, "pids.max", "200", timeout=60)
    governed.wait_value(container, "cpu.max", "max 100000", timeout=10)
    for bad in ("TasksMax=-1", "CPUQuota=150", "NoSuch=5"):
        assert governed.guest.run("governorctl", "set", "hand", bad, check=False).code != 0


def test_observe_says_what_it_would_do_and_does_nothing(governed: Governed) -> None:
    container = governed.docker("look", "--pids-limit", "200")
    governed.policy("50-look", f'[policy]\nmode = "observe"\n{GOOD.format(name="look", tasks=75)}')
    governed.guest.wait_until(
        "journalctl --no-pager -o cat SYSLOG_IDENTIFIER=governor GOVERNOR_OUTCOME=observed | grep look", 15
    )
    assert governed.value(container, "pids.max") != "75"
    assert governed.explained(container)["TasksMax"]["State"] == "observed"
    governed.policy("50-look", GOOD.format(name="look", tasks=75))
    governed.wait_value(container, "pids.max", "75", timeout=10)
    governed.guest.run("governorctl", "mode", "observe")
    governed.wait_value(container, "pids.max", "200", timeout=10)
    governed.guest.run("governorctl", "mode", "enforce")
    governed.wait_value(container, "pids.max", "75", timeout=10)


def test_the_bus_describes_itself(governed: Governed) -> None:
    shown = governed.guest.sh("busctl introspect org.governor1 /org/governor1 org.governor1.Manager").stdout
    for member in (
        "ListContainers",
        "GetContainer",
        "ListPolicies",
        "Reload",
        "Explain",
        "SetLimits",
        "Release",
        "SetMode",
    ):
        assert f".{member} " in shown
    for member in ("Version", "Mode", "NContainers", "Features", "LastTickUSec", "ContainerAdded", "LimitsChanged"):
        assert f".{member} " in shown
    tree = governed.guest.sh("busctl tree --list org.governor1").stdout
    assert "/org/governor1/container/" in tree


def test_a_burst_and_a_quota_in_either_order(governed: Governed) -> None:
    container = governed.docker("burst")
    governed.policy("50-b", '[match]\nname = "burst"\n[limits]\nCPUQuota = "50%"\nCPUBurst = "20ms"\n')
    governed.wait_value(container, "cpu.max.burst", "20000")
    governed.wait_value(container, "cpu.max", "50000 100000")
    governed.policy("50-b", '[match]\nname = "burst"\n[limits]\nCPUQuota = "10%"\nCPUBurst = "5ms"\n')
    governed.wait_value(container, "cpu.max", "10000 100000")
    governed.wait_value(container, "cpu.max.burst", "5000")
    governed.no_policy("50-b")
    governed.wait_value(container, "cpu.max", "max 100000")
    governed.wait_value(container, "cpu.max.burst", "0")


@pytest.mark.timeout(1200)
def test_run_starts_a_governed_scope(governed: Governed) -> None:
    governed.policy("50-run", GOOD.format(name="nobody", tasks=33))
    script = 'governorctl run --policy 50-run -- sh -c "cat /sys/fs/cgroup\\$(sed s/^0::// /proc/self/cgroup)/pids.max; exit 7"'
    done = governed.guest.sh(script, check=False, timeout=60)
    assert (done.stdout.strip(), done.code) == ("33", 7)


def test_doctor_finds_what_this_guest_has(governed: Governed) -> None:
    rows = {row["feature"]: row["available"] for row in governed.guest_json("governorctl doctor --json")["features"]}
    assert rows["cgroup-v2"]
    assert rows["controller-memory"]
    assert rows["memory-reclaim"]
    assert rows["polkit"]


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_a_label_matches_whoever_made_the_container(governed: Governed, runtime: str) -> None:
    if runtime == "podman" and governed.guest.suite == "bookworm":
        pytest.skip("podman before 4.8 keeps its labels in a BoltDB, and its socket is off here: doctor says so")
    governed.policy("50-label", '[match]\nlabels = { tier = "front" }\n[limits]\nTasksMax = 58\n')
    start = governed.docker if runtime == "docker" else governed.podman
    container = start(f"label-{runtime}", "--label", "tier=front")
    governed.wait_value(container, "pids.max", "58", timeout=30)
    shown = governed.ctl("show", container.id)
    assert shown["Labels"]["tier"] == "front"
    governed.no_policy("50-label")


def test_what_is_recorded_can_be_watched_and_simulated(governed: Governed) -> None:
    container = governed.docker("busy", "--cpus", "0.3", command="sh -c 'while :; do :; done'")
    [row] = [row for row in governed.ctl("top", "--once") if row["id"] == container.id]
    assert 0.05 < row["cpu_cores"] < 0.6
    assert row["memory_working_set_bytes"] > 0
    done = governed.guest.sh("governorctl record /root/busy.rec --for 12s", timeout=120)
    assert "busy.rec" in done.stdout + done.stderr
    text = '[match]\nname = "busy"\n[control.cpu-throttle]\nmax = { CPUQuota = "90%" }\n'
    governed.guest.write("/root/throttle.toml", text)
    replayed = governed.ctl("simulate", "--policy", "/root/throttle.toml", "/root/busy.rec")
    decided = [step for step in replayed["steps"] if step["step"] == "decided"]
    assert decided
    assert decided[0]["controller"] == "cpu-throttle"
    assert governed.value(container, "cpu.max") == "30000 100000"
    names = {row["name"] for row in governed.ctl("signals")}
    assert {"cpu.throttled_ratio", "pressure.memory.full_avg10", "host.cpu.usage"} <= names
