"""The guest is what the other tests take it for."""

import re
import time
from pathlib import Path

import pytest

from tests.vm.guest import Guest, GuestError

# Only the line of cgroup v2: the nspawn of systemd 252 adds a named v1 hierarchy, which is a second line.
CGROUP_OF = 'sed -n "s/^0:://p" "/proc/$1/cgroup"'
SYSTEMD = {"trixie": 257, "bookworm": 252}
KERNEL = {"trixie": "6.12.", "bookworm": "6.1."}


def cgroup_of(guest: Guest, pid: str) -> str:
    return guest.sh(CGROUP_OF, pid).stdout.strip()


def test_systemd_is_the_suites_and_has_booted(guest: Guest) -> None:
    lines = guest.sh("systemctl --version | head -n 1; uname -r; systemctl is-system-running").stdout.splitlines()
    assert lines[0].startswith(f"systemd {SYSTEMD[guest.suite]} ")
    assert lines[1].startswith(KERNEL[guest.suite])
    assert lines[2] == "running"


def test_cgroup_v2_has_every_controller_and_pressure(guest: Guest) -> None:
    show = "stat -fc %T /sys/fs/cgroup; cat /sys/fs/cgroup/cgroup.controllers; ls /sys/fs/cgroup/system.slice"
    kind, controllers, *files = guest.sh(show).stdout.splitlines()
    assert kind == "cgroup2fs"
    assert {"cpu", "io", "memory", "pids", "cpuset"} <= set(controllers.split())
    assert {"cpu.pressure", "io.pressure", "memory.pressure"} <= set(files)


def test_bpf_can_attach_to_security_hooks(guest: Guest) -> None:
    assert "bpf" in guest.read("/sys/kernel/security/lsm").split(",")
    assert guest.exists("/sys/kernel/btf/vmlinux")


def test_a_docker_container_has_a_scope_in_the_system_slice(guest: Guest) -> None:
    show = (
        "docker run --detach --network none bb:1 sleep 1000 && docker inspect --format {{.State.Pid}} $(docker ps -lq)"
    )
    identity, pid = guest.sh(show).stdout.split()
    assert cgroup_of(guest, pid) == f"/system.slice/docker-{identity}.scope"


def test_a_podman_container_is_in_a_child_of_its_scope(guest: Guest) -> None:
    show = "podman run --detach localhost/bb:1 sleep 1000 && podman inspect --latest --format {{.State.Pid}}"
    identity, pid = guest.sh(show).stdout.split()
    assert cgroup_of(guest, pid) == f"/machine.slice/libpod-{identity}.scope/container"


def test_a_rootless_podman_container_is_below_its_users_manager(guest: Guest) -> None:
    show = (
        """cd && podman run --detach localhost/bb:1 sleep 1000 && podman inspect --latest --format '{{.State.Pid}}'"""
    )
    runuser = ("runuser", "-u", "alice", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", "HOME=/home/alice")
    identity, pid = guest.run(*runuser, "sh", "-c", show).stdout.split()
    manager = "/user.slice/user-1000.slice/user@1000.service"
    assert cgroup_of(guest, pid) == f"{manager}/user.slice/libpod-{identity}.scope/container"


def test_a_pod_has_a_slice_and_its_container_a_scope_in_it(guest: Guest) -> None:
    pod = guest.cri(memory=64 << 20, cpu_quota=50_000)
    found = guest.run("find", "/sys/fs/cgroup", "-name", f"cri-containerd-{pod.container}.scope").stdout.strip()
    unit = f"kubepods-burstable-pod{pod.uid.replace('-', '_')}.slice"
    path = f"/kubepods.slice/kubepods-burstable.slice/{unit}/cri-containerd-{pod.container}.scope"
    assert found == f"/sys/fs/cgroup{path}"
    assert guest.sh('cat "$1/memory.max" "$1/cpu.max"', found).stdout == f"{64 << 20}\n50000 100000\n"
    assert guest.exists(f"{Path(found).parent}/cri-containerd-{pod.sandbox}.scope")


def test_an_nspawn_container_is_the_payload_of_its_machines_scope(guest: Guest) -> None:
    started = guest.spawn("exec systemd-nspawn -q -M m1 -D /var/lib/machines/m1 --private-network /bin/sleep 1000")
    pid = guest.wait_until("machinectl show --property Leader --value m1")
    path = cgroup_of(guest, pid)
    assert path == "/machine.slice/machine-m1.scope/payload"
    guest.run("machinectl", "terminate", "m1")
    assert started.wait().code != 0


def test_a_bandwidth_limit_holds_on_the_scratch_disk(guest: Guest) -> None:
    write = "dd if=/dev/zero of=/dev/vdb bs=1M count=8 oflag=direct"
    limited = f"systemd-run --quiet --wait --pipe --property 'IOWriteBandwidthMax=/dev/vdb 2M' {write}"
    assert seconds(guest.sh(limited).stderr) > 3.0
    assert seconds(guest.sh(write).stderr) < 3.0


def seconds(report: str) -> float:
    """Return the seconds in what dd says at its end."""
    found = re.search(r"copied, ([0-9.]+) s", report)
    assert found is not None, report
    return float(found[1])


def test_python_has_what_governor_imports(guest: Guest) -> None:
    modules = "dbus_next, dbus_fast, pystemd, sdnotify, systemd.daemon, pytest, psutil, prometheus_client"
    guest.run("python3", "-c", f"import tomli, {modules}")


def test_a_package_of_ones_own_installs_without_a_network(guest: Guest) -> None:
    control = "Package: trial\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n"
    guest.write("/tmp/trial/DEBIAN/control", f"{control}Depends: python3-dbus-next\nDescription: a trial\n")
    guest.sh("dpkg-deb --build /tmp/trial /tmp/trial.deb && apt-get install --quiet --yes /tmp/trial.deb")
    assert guest.run("dpkg-query", "--show", "trial").stdout == "trial\t1\n"


def test_a_failed_command_shows_what_it_printed(guest: Guest) -> None:
    with pytest.raises(GuestError) as caught:
        guest.sh("echo to-stdout; echo to-stderr >&2; exit 3")
    assert all(part in str(caught.value) for part in ("exit code 3", "to-stdout", "to-stderr"))


def test_a_command_that_takes_too_long_is_killed(guest: Guest) -> None:
    with pytest.raises(GuestError, match="not done after 1 s"):
        guest.run("sleep", "7777", timeout=1.0)
    guest.wait_until("! pgrep -f 'sleep [7]777'", timeout=10.0)


def test_waiting_returns_what_the_script_printed_at_last(guest: Guest) -> None:
    guest.spawn("sleep 1; echo there > /tmp/late")
    assert guest.wait_until("cat /tmp/late", timeout=30.0) == "there"
    with pytest.raises(GuestError, match="No such file"):
        guest.wait_until("cat /tmp/never", timeout=1.0)


def test_a_background_command_is_told_to_end(guest: Guest) -> None:
    command = guest.spawn("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    until = time.monotonic() + 30.0
    while "ready" not in command.output() and time.monotonic() < until:
        time.sleep(0.1)
    done = command.stop()
    assert (done.stdout, done.code) == ("ready\nbye\n", 5)


def test_files_come_back_as_they_went(guest: Guest, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "data").write_bytes(data)
    (tmp_path / "tree" / "script").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tree" / "script").chmod(0o755)
    guest.push(tmp_path / "tree", "/tmp/copy")
    guest.push(tmp_path / "tree" / "script", "/tmp/elsewhere/renamed")
    assert guest.run("/tmp/elsewhere/renamed").stdout == "ran\n"
    guest.pull("/tmp/copy", tmp_path / "back")
    guest.pull("/tmp/copy/below/data", tmp_path / "single")
    assert (tmp_path / "back" / "below" / "data").read_bytes() == data
    assert (tmp_path / "single").read_bytes() == data


def test_the_agent_is_spared_by_the_oom_killer_and_its_commands_are_not(guest: Guest) -> None:
    agent = guest.run("systemctl", "show", "--property", "MainPID", "--value", "guest-agent.service").stdout.strip()
    assert guest.read(f"/proc/{agent}/oom_score_adj") == "-1000\n"
    assert guest.read("/proc/self/oom_score_adj") == "0\n"


def test_a_reset_forgets_files_containers_and_the_scratch_disk(guest: Guest) -> None:
    guest.sh("touch /root/mark; docker run --detach --network none bb:1 sleep 1000; mkswap /dev/vdb; sync")
    guest.reset()
    assert not guest.exists("/root/mark")
    assert guest.run("docker", "ps", "--quiet").stdout == ""
    assert guest.run("blkid", "/dev/vdb", check=False).stdout == ""
    assert abs(float(guest.run("date", "+%s").stdout) - time.time()) < 10.0
