"""Who may see and who may change; and what a user without rights can forge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.governed import Governed

AS_ALICE = "runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/1000"
MANAGER = "org.governor1 /org/governor1 org.governor1.Manager"


@pytest.fixture(scope="module")
def container(governed: Governed) -> str:
    """Return the id of a docker container with a secret label."""
    return governed.docker("seen", "--label", "secret=hush").id


def test_everybody_may_read_the_list_and_the_limits(governed: Governed, container: str) -> None:
    shown = governed.guest.sh(f"{AS_ALICE} governorctl list --json").stdout
    assert container in shown
    governed.guest.sh(f"{AS_ALICE} governorctl explain {container} --json")
    assert governed.guest.sh(f"{AS_ALICE} governorctl status").stdout


def test_labels_need_privilege(governed: Governed, container: str) -> None:
    governed.guest.wait_until(f"governorctl show {container} --json | grep -q hush", 30)
    assert "hush" not in governed.guest.sh(f"{AS_ALICE} governorctl show {container} --json").stdout
    path = governed.guest.sh(f"busctl call {MANAGER} GetContainer s {container}").stdout.split('"')[1]
    got = governed.guest.sh(
        f"{AS_ALICE} busctl get-property org.governor1 {path} org.governor1.Container Labels"
    ).stdout
    assert "hush" not in got


@pytest.mark.parametrize(
    "call",
    ["Reload", "SetMode s observe", "SetLimits 'sa(sv)t' {id} 1 TasksMax t 5 0", "Release s {id}"],
)
def test_a_user_may_change_nothing(governed: Governed, container: str, call: str) -> None:
    done = governed.guest.sh(f"{AS_ALICE} busctl call {MANAGER} {call.format(id=container)}", check=False)
    assert done.code != 0
    assert "AccessDenied" in done.stderr or "denied" in done.stderr.lower()
    assert governed.ctl("status")["Mode"] == "enforce"
    governed.guest.sh(f"busctl call {MANAGER} {call.format(id=container)}")
    governed.guest.sh(f"busctl call {MANAGER} SetMode s enforce; busctl call {MANAGER} Release s {container}")


def test_polkit_lets_in_whom_it_is_told_to(governed: Governed, container: str) -> None:
    rule = """
    polkit.addRule(function(action, subject) {
        if (action.id == "org.governor1.set-limits" && subject.user == "alice") return polkit.Result.YES;
    });
    """
    governed.guest.write("/etc/polkit-1/rules.d/50-governor-test.rules", rule)
    governed.guest.sh("systemctl restart polkit", timeout=60)
    governed.guest.sh(f"{AS_ALICE} busctl call {MANAGER} SetLimits 'sa(sv)t' {container} 1 TasksMax t 44 0")
    assert governed.guest.read(f"/sys/fs/cgroup/system.slice/docker-{container}.scope/pids.max").strip() == "44"
    done = governed.guest.sh(f"{AS_ALICE} busctl call {MANAGER} Release s {container}", check=False)
    assert done.code != 0
    governed.guest.sh("rm /etc/polkit-1/rules.d/50-governor-test.rules")
    governed.guest.sh(f"governorctl release {container}")


def test_a_forged_docker_scope_matches_only_policies_for_users(governed: Governed) -> None:
    forged = f"docker-{'ab' * 32}"
    governed.policy("50-docker", '[match]\nruntime = "docker"\n[limits]\nTasksMax = 66\n')
    governed.policy("51-any", '[match]\nname = "*"\n[limits]\nTasksMax = 67\n')
    governed.guest.sh(f"{AS_ALICE} systemd-run --user --scope -q --unit={forged} sleep 100000 >/dev/null 2>&1 &")
    path = governed.guest.wait_until(f"find /sys/fs/cgroup/user.slice -name '{forged}.scope' | grep .", 60)
    before = governed.guest.read(f"{path}/pids.max")
    governed.guest.sh("systemctl reload governor && sleep 4", timeout=60)
    assert governed.guest.read(f"{path}/pids.max") == before
    governed.policy("52-user", '[match]\nuser = "1000"\n[limits]\nTasksMax = 68\n')
    governed.guest.wait_until(f'[ "$(cat {path}/pids.max)" = 68 ]', 60)
    governed.guest.sh(f"{AS_ALICE} systemctl --user daemon-reload")
    governed.guest.sh("sleep 2")
    assert governed.guest.read(f"{path}/pids.max").strip() == "68"
    governed.stop()
    assert governed.guest.read(f"{path}/pids.max") == before
    governed.start()


def test_hostile_names_and_labels_are_data(governed: Governed) -> None:
    label = "x=" + "\\x1b[2J\\n\\x00';DROP".replace("\\x00", "") + "A" * 60000
    identity = governed.guest.sh(
        'docker run -d --network none --name hostile --label "$1" bb:1 sleep 100000', label, timeout=120
    ).stdout.strip()
    governed.policy("53-hostile", '[match]\nname = "hostile"\n[limits]\nTasksMax = 69\n')
    governed.guest.wait_until(f'[ "$(cat /sys/fs/cgroup/system.slice/docker-{identity}.scope/pids.max)" = 69 ]', 60)
    shown = governed.guest.sh("governorctl list; governorctl show hostile; governorctl explain hostile").stdout
    assert "\x1b" not in shown
    unit = r"we\x20ird-\x22\x0a"
    governed.guest.sh(
        f"systemd-run -q --unit='start-weird' systemd-run -q --scope --unit='{unit}.scope' sleep 100000", check=False
    )
    assert governed.guest.sh("systemctl is-active governor").stdout.strip() == "active"


def test_critical_units_and_slices_are_refused(governed: Governed) -> None:
    for unit in ("ssh.service", "systemd-journald.service", "dbus.service", "docker.service", "init.scope"):
        governed.policy("54-bad", f'[match]\nunit = "{unit}"\n[limits]\nTasksMax = 5000\n')
        path = governed.guest.sh(f"systemctl show -P ControlGroup {unit}").stdout.strip()
        if not path:
            continue
        before = governed.guest.sh(f"cat /sys/fs/cgroup{path}/pids.max 2>/dev/null || true").stdout
        governed.guest.sh("systemctl reload governor; sleep 3", timeout=60)
        assert governed.guest.sh(f"cat /sys/fs/cgroup{path}/pids.max 2>/dev/null || true").stdout == before
    assert governed.journal("GOVERNOR_OUTCOME=refused")
    governed.no_policy("54-bad")
