"""Feedback on real containers: each action is provoked for real, seen in the kernel, told, and taken back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.governed import Container, Governed

TOOLS = Path(__file__).parent / "tools"
HOST_TOOLS = ("-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro", "-v", "/srv:/srv")
"""The guest's own fio and stress-ng in a container that has only busybox."""

BUSY = "sh -c 'while :; do :; done'"


@pytest.fixture(autouse=True)
def _clean(governed: Governed) -> Iterator[None]:
    """Leave nothing behind that keeps the guest's two CPUs busy."""
    yield
    governed.guest.sh(
        "rm -f /etc/governor/policies.d/*.toml; docker rm -f $(docker ps -aq) >/dev/null 2>&1; "
        "systemctl is-active -q governor || systemctl start governor",
        check=False,
        timeout=240,
    )


def steps(governed: Governed, *matches: str) -> list[dict[str, Any]]:
    """Return what the journal has of feedback."""
    return [entry for entry in governed.journal(*matches) if "GOVERNOR_STEP" in entry]


def wait_step(governed: Governed, controller: str, kind: str, timeout: float = 90.0) -> str:
    """Wait until the journal has such a step and return what it says."""
    return governed.guest.wait_until(
        "journalctl --no-pager -o cat SYSLOG_IDENTIFIER=governor "
        f"GOVERNOR_CONTROLLER={controller} GOVERNOR_STEP={kind} | grep .",
        timeout,
    )


def quota(governed: Governed, container: Container) -> float:
    """Return the quota in force, in CPUs."""
    amount, period = governed.value(container, "cpu.max").split()
    return float("inf") if amount == "max" else int(amount) / int(period)


def wait_quota(governed: Governed, container: Container, percent: int) -> None:
    """Wait until the quota is at least so much of one CPU."""
    file = f"/sys/fs/cgroup{container.cgroup}/cpu.max"
    governed.guest.wait_until(f"read -r q p <{file}; echo $q $p; [ $((q * 100 / p)) -ge {percent} ]", 200)


THROTTLE = """
[match]
name = "busy"
[limits]
CPUQuota = "{quota}%"
[control.cpu-throttle]
target = 0.05
min = {{ CPUQuota = "10%" }}
max = {{ CPUQuota = "90%" }}
"""


@pytest.mark.bookworm
def test_a_throttled_container_gets_more_and_all_is_taken_back(governed: Governed) -> None:
    container = governed.docker("busy", "--cpus", "0.7", command=BUSY)
    governed.policy("50-busy", THROTTLE.format(quota=20))
    wait_quota(governed, container, 60)
    said = wait_step(governed, "cpu-throttle", "decided")
    assert "throttled" in said
    assert "CPUQuota" in said
    row = governed.explained(container)["CPUQuotaPerSecUSec"]
    assert row["Source"] == "control:cpu-throttle"
    assert any("policy:50-busy" in lost for lost in row["Overrides"])
    assert governed.explained(container)["control.cpu-throttle"]["State"]
    before = quota(governed, container)
    governed.guest.run("systemctl", "restart", "governor", timeout=120)
    assert quota(governed, container) >= before - 0.01  # adopted: a restart does not flap
    governed.stop()
    assert governed.value(container, "cpu.max") == "70000 100000"
    assert governed.ledger_is_empty()
    governed.start()


def test_somebody_elses_change_is_respected_by_feedback(governed: Governed) -> None:
    container = governed.docker("busy2", command=BUSY)
    governed.policy("50-busy2", THROTTLE.format(quota=20).replace('"busy"', '"busy2"'))
    wait_quota(governed, container, 40)
    governed.guest.sh("docker update --cpus 0.33 busy2", timeout=120)
    governed.guest.sh("sleep 15")
    assert governed.value(container, "cpu.max") == "33000 100000"
    assert governed.explained(container)["CPUQuotaPerSecUSec"]["State"] == "yielded"


def test_sigkill_in_the_middle_of_feedback_loses_no_original(governed: Governed) -> None:
    container = governed.docker("busy3", "--cpus", "0.6", command=BUSY)
    governed.policy("50-busy3", THROTTLE.format(quota=15).replace('"busy"', '"busy3"'))
    for pause in (1.3, 2.1, 0.4, 3.0, 1.7):
        # the count of starts, not the result of this one: without a failure systemd would not start it again
        governed.guest.sh(f"sleep {pause}; systemctl reset-failed governor; systemctl kill -s KILL governor")
        governed.guest.wait_until('[ "$(systemctl is-active governor)" = active ]', 90)
    wait_quota(governed, container, 30)
    governed.stop()
    assert governed.value(container, "cpu.max") == "60000 100000"
    assert governed.ledger_is_empty()
    governed.start()


def test_observe_decides_and_writes_nothing(governed: Governed) -> None:
    container = governed.docker("seen", "--cpus", "0.2", command=BUSY)
    text = THROTTLE.format(quota=20).replace('"busy"', '"seen"')
    governed.policy("50-seen", f'[policy]\nmode = "observe"\n{text}')
    governed.guest.wait_until(
        "journalctl --no-pager -o cat SYSLOG_IDENTIFIER=governor GOVERNOR_STEP=decided GOVERNOR_MODE=observe | grep seen",
        200,
    )
    assert governed.value(container, "cpu.max") == "20000 100000"


def test_a_stalled_loop_drops_all_feedback_and_begins_anew(governed: Governed) -> None:
    container = governed.docker("busy4", command=BUSY)
    governed.policy("50-busy4", THROTTLE.format(quota=20).replace('"busy"', '"busy4"'))
    wait_quota(governed, container, 40)
    governed.guest.sh("systemctl kill -s STOP governor; sleep 9; systemctl kill -s CONT governor", timeout=60)
    assert "stalled" in wait_step(governed, "cpu-throttle", "released", 90)
    wait_quota(governed, container, 40)


BURST = """
[match]
name = "peaks"
[limits]
CPUQuota = "25%"
[control.cpu-burst]
max = { CPUBurst = "25ms" }
"""


def test_short_peaks_may_use_quota_that_was_saved_up(governed: Governed) -> None:
    peaks = "stress-ng --cpu 1 --cpu-load 15 --cpu-load-slice 70 --temp-path /tmp"
    container = governed.docker("peaks", *HOST_TOOLS, command=peaks)
    governed.policy("50-peaks", BURST)
    governed.guest.wait_until(f"[ $(cat /sys/fs/cgroup{container.cgroup}/cpu.max.burst) -gt 0 ]", 240)
    assert "CPUBurst" in wait_step(governed, "cpu-burst", "decided")
    governed.stop()
    assert governed.value(container, "cpu.max.burst") == "0"
    assert governed.value(container, "cpu.max") == "max 100000"
    governed.start()


def test_batch_gets_what_services_leave(governed: Governed) -> None:
    batch = governed.docker("batch", "--cpu-shares", "2048", command=BUSY)
    governed.docker("web", command=BUSY)
    weight = governed.value(batch, "cpu.weight")
    governed.policy("50-batch", '[match]\nname = "batch"\n[control.headroom]\n')
    governed.wait_value(batch, "cpu.idle", "1", timeout=60)
    assert "CPUWeight" in wait_step(governed, "headroom", "decided")
    governed.stop()
    assert governed.value(batch, "cpu.idle") == "0"
    assert governed.value(batch, "cpu.weight") == weight
    assert governed.value(batch, "cpu.max") == "max 100000"
    governed.start()


SUSPECT = """
[match]
name = "{name}"
[control.interference]
role   = "{role}"
period = "1s"
{more}
"""


def test_who_hurts_a_victim_is_found_and_capped(governed: Governed) -> None:
    """Sixty samples say what is normal for the victim; then somebody keeps it from the CPU."""
    governed.policy("50-victim", SUSPECT.format(name="victim", role="victim", more="busy = 0.1"))
    governed.policy("50-suspect", SUSPECT.format(name="suspect", role="suspect", more='hold = "1min"'))
    load = "stress-ng --cpu 1 --cpu-load 40 --cpu-load-slice 20 --temp-path /tmp"
    governed.docker("victim", *HOST_TOOLS, command=load)
    suspect = governed.docker("suspect", *HOST_TOOLS, command="sleep 100000")
    governed.guest.sh("sleep 90", timeout=120)
    governed.guest.sh("docker exec -d suspect stress-ng --cpu 6 --temp-path /tmp", timeout=60)
    governed.guest.wait_until(f"grep -v max /sys/fs/cgroup{suspect.cgroup}/cpu.max", 400)
    assert "pressure.cpu.some" in wait_step(governed, "interference", "decided")
    governed.wait_value(suspect, "cpu.max", "max 100000", timeout=180)  # every cap has an end


PLANTED = """
[match]
name = "planted"
[control.planted]
cooldown = "20s"
"""


def test_a_planted_controller_that_makes_things_worse_is_undone_and_silenced(governed: Governed) -> None:
    """It cuts the quota of a busy container and expects less throttling: the opposite comes true."""
    governed.guest.push(TOOLS / "planted_daemon.py", "/root/planted_daemon.py")
    override = "[Service]\nExecStart=\nExecStart=/usr/bin/python3 /root/planted_daemon.py\nProtectHome=no\n"
    governed.guest.write("/etc/systemd/system/governor.service.d/planted.conf", override)
    container = governed.docker("planted", "--cpus", "0.9", command=BUSY)
    governed.guest.sh("systemctl daemon-reload; systemctl restart governor", timeout=180)
    governed.policy("50-planted", PLANTED)
    governed.wait_value(container, "cpu.max", "10000 100000", timeout=120)
    said = wait_step(governed, "planted", "undone", 180)
    assert "did not help" in said
    governed.wait_value(container, "cpu.max", "90000 100000", timeout=30)
    governed.guest.sh("sleep 10")
    assert governed.value(container, "cpu.max") == "90000 100000"  # silent for its cooldown
    assert len(steps(governed, "GOVERNOR_CONTROLLER=planted", "GOVERNOR_STEP=undone")) == 1
    row = governed.explained(container)["control.planted"]
    assert row["State"] == "undone"
    assert "did not help" in row["Reason"]
    governed.guest.sh(
        "rm /etc/systemd/system/governor.service.d/planted.conf; systemctl daemon-reload;systemctl restart governor",
        timeout=240,
    )


PROBE = """
[match]
name = "cold"
[control.memory-probe]
"""


def test_cold_memory_is_given_back(governed: Governed) -> None:
    """A container that has read a file once, and holds pages that it never touches again, gives both back."""
    governed.guest.sh("dd if=/dev/zero of=/srv/cold bs=1M count=150 2>/dev/null; mkswap /dev/vdb && swapon /dev/vdb")
    governed.guest.sh("sync; echo 3 >/proc/sys/vm/drop_caches")
    fill = "dd if=/dev/zero of=/dev/shm/cold bs=1M count=100 2>/dev/null; cat /srv/cold >/dev/null; sleep 100000"
    container = governed.docker("cold", "-v", "/srv:/srv", "--shm-size", "200m", command=f"sh -c '{fill}'")
    current = f"/sys/fs/cgroup{container.cgroup}/memory.current"
    governed.guest.wait_until(f"[ $(cat {current}) -gt 250000000 ]", 120)
    governed.policy("50-cold", PROBE)
    governed.guest.wait_until(f"now=$(cat {current}); echo $now; [ $now -lt 100000000 ]", 450)
    assert wait_step(governed, "memory-probe", "decided")
    assert governed.value(container, "memory.high") == "max"  # nothing stays behind
    assert "oom_kill 0" in governed.value(container, "memory.events")
    governed.guest.sh("docker rm -f cold; swapoff /dev/vdb", timeout=240)


KILL = """
[match]
name = "thrash-*"
[limits]
MemoryHigh = "40M"
[control.pressure-kill]
action   = "{action}"
limit    = "5%"
duration = "2s"
grace    = "4s"
"""
THRASH = "sh -c 'while :; do cat /srv/load >/dev/null; done'"


def test_a_thrashing_container_is_told_first_and_then_killed_where_the_policy_says_kill(governed: Governed) -> None:
    governed.guest.sh(
        "dd if=/dev/zero of=/srv/load bs=1M count=300 2>/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches"
    )
    governed.guest.spawn(
        "exec dbus-monitor --system \"type='signal',interface='org.governor1.Manager',member='KillNotice'\" >/root/notices"
    )
    governed.policy("50-thrash", KILL.format(action="notify"))
    governed.docker("thrash-a", "-v", "/srv:/srv", command=THRASH)
    wait_step(governed, "pressure-kill", "decided", 240)
    governed.guest.wait_until("grep -q KillNotice /root/notices", 30)
    governed.guest.sh("sleep 10")
    running = "docker inspect -f '{{.State.Running}}' thrash-a"
    assert governed.guest.sh(running).stdout.strip() == "true"  # only told: no policy says kill
    governed.policy("50-thrash", KILL.format(action="kill"))
    governed.guest.wait_until(f'[ "$({running})" = false ]', 240)
    killed = governed.guest.sh("docker inspect -f '{{json .State}}' thrash-a").stdout
    assert json.loads(killed)["ExitCode"] == 137
    assert "killed" in wait_step(governed, "pressure-kill", "done")


SMALL = """
[match]
name = "small"
[control.right-size]
min = { MemoryHigh = "16M" }
"""


def test_an_oom_counts_and_what_was_learned_outlives_the_daemon(governed: Governed) -> None:
    """A day of small use says that little is needed; that the container is killed for lack of memory says otherwise."""
    governed.stop()
    governed.guest.push(TOOLS / "learned.py", "/root/learned.py")
    governed.guest.run("python3", "/root/learned.py", "/var/lib/governor/learned.json", "docker//small")
    governed.start()
    governed.policy("50-small", SMALL)
    greedy = "while :; do dd if=/dev/zero of=/dev/null bs=60M count=1 2>/dev/null; sleep 1; done"
    governed.docker("small", "-m", "30m", "--memory-swap", "30m", command=f"sh -c '{greedy}'")
    said = wait_step(governed, "right-size", "recommended", 240)
    found = re.search(r"MemoryHigh (\d+)([KM])", said)
    assert found is not None
    assert int(found[1]) * {"K": 1 << 10, "M": 1 << 20}[found[2]] > 100 << 20
    assert "1.0 days" in said
    governed.stop()
    assert '"docker//small"' in governed.guest.read("/var/lib/governor/learned.json")
    governed.start()


IO = """
[match]
name = "{name}"
[control.io-pressure]
role = "{role}"
{more}
"""


@pytest.mark.timeout(1200)
def test_a_container_whose_io_suffers_is_protected_and_the_cap_goes_with_the_pressure(governed: Governed) -> None:
    governed.guest.sh("mkfs.ext4 -qF /dev/vdb && mkdir -p /srv/disk && mount /dev/vdb /srv/disk", timeout=120)
    reader = (
        "fio --name=r --filename=/srv/disk/r --size=64M --rw=randread --bs=4k --direct=1 --ioengine=psync "
        "--rate_iops=100 --time_based --runtime=100000"
    )
    writer = (
        "fio --name=w --filename=/srv/disk/w --size=256M --rw=write --bs=1M --direct=1 --ioengine=psync "
        "--numjobs=4 --time_based --runtime=100000"
    )
    governed.policy("50-reader", IO.format(name="reader", role="protect", more=""))
    governed.policy("50-writer", IO.format(name="writer", role="yield", more=""))
    governed.docker("reader", *HOST_TOOLS, command=reader)
    governed.guest.sh("sleep 40")
    batch = governed.docker("writer", *HOST_TOOLS, command=writer)
    cap = governed.guest.wait_until(f"grep wbps=[0-9] /sys/fs/cgroup{batch.cgroup}/io.max", 240)
    assert cap.split()[0] == "254:16"
    assert "io-pressure" in wait_step(governed, "io-pressure", "decided")
    governed.guest.sh("docker rm -f reader", timeout=120)
    governed.guest.wait_until(f"! grep wbps=[0-9] /sys/fs/cgroup{batch.cgroup}/io.max", 400)
    governed.guest.sh("docker rm -f writer; umount /srv/disk", timeout=240)
