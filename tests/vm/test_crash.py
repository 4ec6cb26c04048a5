"""Whatever happens to the daemon, no original is lost and no limit outlives its reason."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.governed import Governed

KILLS = int(os.environ.get("GOVERNOR_KILLS", "20"))
POLICY = '[match]\nruntime = ["docker", "podman"]\n\n[limits]\nCPUQuota = "{quota}%"\nTasksMax = {tasks}\n{more}'


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_kill_nine_at_random_moments_loses_no_original_and_leaves_nothing(governed: Governed) -> None:
    """Everything random happens in one script in the guest, so that the moments are not rounded to our commands."""
    docker = governed.docker("k1", "-m", "200m", "--pids-limit", "500")
    podman = governed.podman("k2", "--cpus", "0.9")
    before = {c.id: {f: governed.value(c, f) for f in ("cpu.max", "pids.max", "memory.high")} for c in (docker, podman)}
    seed = random.randrange(2**32)
    policies = [
        POLICY.format(quota=20 + 10 * i, tasks=100 + i, more='MemoryHigh = "64M"\n' if i % 2 else "") for i in range(7)
    ]
    for number, text in enumerate(policies):
        governed.guest.write(f"/root/policies/{number}.toml", text)
    script = f"""
    RANDOM_SEED={seed}; systemctl reset-failed governor
    awk -v seed={seed} -v n={KILLS} 'BEGIN {{ srand(seed); for (i = 0; i < n; i++) print int(rand() * 7), rand() * 1.5 }}' |
    while read -r policy pause; do
        cp /root/policies/$policy.toml /etc/governor/policies.d/.new && mv /etc/governor/policies.d/.new /etc/governor/policies.d/50-k.toml
        sleep $pause
        systemctl kill -s KILL governor 2>/dev/null || true
        systemctl reset-failed governor 2>/dev/null || true
        [ $policy = 3 ] && rm -f /etc/governor/policies.d/50-k.toml
    done
    for i in $(seq 120); do [ "$(systemctl is-active governor)" = active ] && exit 0; systemctl start governor; sleep 0.5; done; exit 1
    """
    governed.guest.sh(script, timeout=60.0 + KILLS * 30)
    governed.policy("50-k", policies[1])
    for container in (docker, podman):
        governed.wait_value(container, "pids.max", "101", timeout=60)
    governed.stop()
    for container in (docker, podman):
        after = {file: governed.value(container, file) for file in before[container.id]}
        assert after == before[container.id], f"seed {seed}"
    assert governed.ledger_is_empty()
    governed.no_policy("50-k")
    governed.start()


def test_a_daemon_that_cannot_start_again_leaves_nothing_within_45_seconds(governed: Governed) -> None:
    container = governed.docker("dead")
    original = governed.value(container, "pids.max")
    governed.policy("50-d", '[match]\nname = "dead"\n[limits]\nTasksMax = 66\n')
    governed.wait_value(container, "pids.max", "66")
    broken = "/etc/systemd/system/governor.service.d/broken.conf"
    governed.guest.write(broken, "[Service]\nExecStart=\nExecStart=/bin/false\n")
    governed.guest.sh("systemctl daemon-reload; systemctl kill -s KILL governor")
    governed.wait_value(container, "pids.max", original, timeout=45)
    governed.guest.wait_until('[ "$(ls /run/governor/ledger | wc -l)" = 0 ]', 10)
    governed.guest.sh(
        f"rm {broken}; systemctl daemon-reload; systemctl reset-failed governor; systemctl restart governor",
        timeout=120,
    )
    governed.wait_value(container, "pids.max", "66", timeout=60)


def test_restart_does_not_flap(governed: Governed) -> None:
    container = governed.docker("flap")
    governed.policy("50-f", '[match]\nname = "flap"\n[limits]\nTasksMax = 61\nCPUQuota = "40%"\n')
    governed.wait_value(container, "pids.max", "61")
    governed.wait_value(container, "cpu.max", "40000 100000")
    path = f"/sys/fs/cgroup{container.cgroup}"
    watcher = governed.guest.spawn(
        f"while :; do read -r p <{path}/pids.max; read -r c <{path}/cpu.max; "
        '[ "$p" = 61 ] && [ "$c" = "40000 100000" ] || echo "flap: $p $c"; done'
    )
    governed.guest.run("systemctl", "restart", "governor", timeout=120)
    governed.guest.sh("sleep 5")
    watcher.stop()
    assert "flap" not in watcher.output()
    assert governed.guest.sh("systemctl is-active governor-restore.timer", check=False).stdout.strip() != "active"


def test_a_container_that_ends_while_the_daemon_is_down_is_forgotten(governed: Governed) -> None:
    container = governed.docker("gone")
    governed.policy("50-g", '[match]\nname = "gone"\n[limits]\nTasksMax = 62\n')
    governed.wait_value(container, "pids.max", "62")
    governed.guest.sh(
        "systemctl kill -s STOP governor; docker rm -f gone; systemctl kill -s KILL governor", timeout=120
    )
    governed.guest.wait_until('[ "$(systemctl is-active governor)" = active ]', 60)
    governed.guest.wait_until(f"! grep -l {container.id} /run/governor/ledger/*", 60)
