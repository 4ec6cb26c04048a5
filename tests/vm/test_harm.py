"""No harm: devices stay, administrators win, nothing is killed, PID 1 goes on answering."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm.governed import Container

if TYPE_CHECKING:
    from tests.vm.governed import Governed

ASK = Path(__file__).parent / "tools" / "ask_pid1.py"


def test_a_device_let_in_behind_systemds_back_survives(governed: Governed) -> None:
    """runc's own `update` lets the container use /dev/vdb without systemd knowing: our write must not take it away."""
    container = governed.docker("gpu")
    governed.guest.sh("docker exec gpu mknod /dev/disk b 254 16")
    denied = governed.guest.sh("docker exec gpu dd if=/dev/disk of=/dev/null count=1", check=False)
    assert denied.code != 0
    let_in(governed, container)
    governed.guest.sh("docker exec gpu dd if=/dev/disk of=/dev/null count=1")
    governed.policy("50-gpu", '[match]\nname = "gpu"\n[limits]\nTasksMax = 66\n')
    governed.guest.wait_until(f"governorctl explain {container.id} --json | grep -q refused", 60)
    assert "device" in governed.explained(container)["TasksMax"]["State"]
    governed.guest.sh("docker exec gpu dd if=/dev/disk of=/dev/null count=1")


def test_a_container_that_is_being_made_is_left_to_its_runtime(governed: Governed) -> None:
    """A write in between has systemd attach its device program anew, under runc's hands: the container would not start.

    Those that come with BPF programs of their own take systemd longest.
    """
    limits = (
        'TasksMax = 77\nIPAddressDeny = "192.0.2.0/24"\nSocketBindDeny = "tcp:1"\nRestrictNetworkInterfaces = "lo"\n'
    )
    governed.policy("50-made", f'[match]\nname = "made-*"\n[limits]\n{limits}')
    governed.policy("50-unit", '[match]\nunit = "docker-*.scope"\n[limits]\nCPUWeight = 200\n')
    made = [governed.docker(f"made-{number}") for number in range(5)]
    for container in made:
        governed.wait_value(container, "pids.max", "77", timeout=60)
        governed.wait_value(container, "cpu.weight", "200", timeout=60)
    governed.no_policy("50-made")
    governed.no_policy("50-unit")
    governed.guest.sh("docker rm -f $(docker ps -q --filter name=made-)", timeout=240)


def let_in(governed: Governed, container: Container) -> None:
    """Detach the cgroup's device programs, as a GPU hook that replaces them with a more permissive one does."""
    script = f"""
    cd /sys/fs/cgroup{container.cgroup}
    for id in $(bpftool -j cgroup show . | jq -r '.[] | select(.attach_type | test("device")) | .id'); do
        bpftool cgroup detach . device id $id
    done
    """
    governed.guest.sh(script)


SERVICE = "[Service]\nExecStart=/bin/sleep 100000\nTasksMax=90\nCPUWeight=70\n"


def test_an_administrators_edit_after_our_restore_shows(governed: Governed) -> None:
    unit = "/etc/systemd/system/app.service"
    governed.guest.write(unit, SERVICE)
    governed.guest.sh("systemctl daemon-reload && systemctl start app.service", timeout=120)
    app = Container("app.service", "/system.slice/app.service")
    governed.policy("50-app", '[match]\nunit = "app.service"\n[limits]\nTasksMax = 66\nCPUWeight = 300\n')
    governed.wait_value(app, "pids.max", "66")
    governed.wait_value(app, "cpu.weight", "300")
    governed.guest.sh("systemctl restart app.service", timeout=120)
    governed.wait_value(app, "pids.max", "66")
    governed.no_policy("50-app")
    governed.wait_value(app, "pids.max", "90")
    governed.wait_value(app, "cpu.weight", "70")
    # the values come back first; our drop-ins are deleted after them, under one reload for all units
    governed.guest.wait_until("[ ! -e /run/systemd/system.control/app.service.d ]", 60)
    governed.guest.write(unit, SERVICE.replace("TasksMax=90", "TasksMax=91"))
    governed.guest.sh("systemctl daemon-reload; systemctl show -P TasksMax app.service | grep -x 91", timeout=120)
    governed.guest.sh("systemctl restart app.service", timeout=120)
    governed.wait_value(app, "pids.max", "91")


def test_an_administrators_own_runtime_drop_in_comes_back(governed: Governed) -> None:
    governed.guest.write("/etc/systemd/system/own.service", SERVICE)
    governed.guest.sh(
        "systemctl daemon-reload && systemctl start own.service && systemctl set-property --runtime own.service TasksMax=44",
        timeout=120,
    )
    own = Container("own.service", "/system.slice/own.service")
    governed.policy("50-own", '[match]\nunit = "own.service"\n[limits]\nTasksMax = 66\n')
    governed.wait_value(own, "pids.max", "66")
    governed.no_policy("50-own")
    governed.wait_value(own, "pids.max", "44")


HOG = "sh -c 'dd if=/dev/zero of=/dev/shm/fill bs=1M count=120 2>/dev/null; sleep 100000'"


def test_a_raised_maximum_that_goes_away_kills_nothing(governed: Governed) -> None:
    container = governed.docker("raised", "-m", "64m", "--shm-size", "200m")
    governed.policy("50-raised", '[match]\nname = "raised"\n[limits]\nMemoryMax = "300M"\n')
    governed.wait_value(container, "memory.max", str(300 << 20))
    governed.guest.sh("docker exec -d raised dd if=/dev/zero of=/dev/shm/fill bs=1M count=120")
    governed.guest.wait_until(f"[ $(cat /sys/fs/cgroup{container.cgroup}/memory.current) -gt 110000000 ]", 60)
    governed.no_policy("50-raised")
    governed.guest.sh("sleep 20")
    assert "oom_kill 0" in governed.value(container, "memory.events")
    assert int(governed.value(container, "memory.max")) >= 110_000_000
    governed.stop()
    assert "oom_kill 0" in governed.value(container, "memory.events")
    assert governed.guest.sh("docker inspect -f '{{.State.Running}}' raised").stdout.strip() == "true"
    assert governed.journal("PRIORITY=3")
    governed.guest.sh("docker exec raised rm /dev/shm/fill")
    governed.start()
    governed.wait_value(container, "memory.max", str(64 << 20), timeout=60)


def test_pid_1_answers_while_memory_is_lowered_under_a_thrashing_container(governed: Governed) -> None:
    """The load reads a file larger than its limit over and over: every page that is reclaimed is wanted again."""
    make = "mkdir -p /srv/load && dd if=/dev/zero of=/srv/load/file bs=1M count=300 2>/dev/null"
    # a cached page belongs to whoever read it first: without this, to the dd
    governed.guest.sh(f"{make}; sync; echo 3 >/proc/sys/vm/drop_caches", timeout=120)
    container = governed.docker(
        "thrash", "-v", "/srv/load:/load", command="sh -c 'while :; do cat /load/file >/dev/null; done'"
    )
    governed.guest.wait_until(f"[ $(cat /sys/fs/cgroup{container.cgroup}/memory.current) -gt 250000000 ]", 120)
    high = f"/sys/fs/cgroup{container.cgroup}/memory.high"
    governed.guest.push(ASK, "/root/ask_pid1.py")
    governed.guest.spawn(f"exec python3 /root/ask_pid1.py {high} {64 << 20} 200 >/root/asked 2>&1")
    governed.guest.wait_until("grep -q ready /root/asked", 60)
    governed.policy("50-thrash", '[match]\nname = "thrash"\n[limits]\nMemoryHigh = "64M"\n')
    governed.guest.wait_until("[ $(wc -l </root/asked) -gt 1 ]", 240)
    worst_ms = int(governed.guest.read("/root/asked").split()[1])
    # PID 1 that lowers the limit itself is blocked in reclaim for many seconds
    assert worst_ms < 1000
    governed.wait_value(container, "memory.high", str(64 << 20), timeout=120)
    assert "oom_kill 0" in governed.value(container, "memory.events")
