"""Nothing blocks the event loop: the daemon runs under an audit hook while everything happens to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.vm.governed import Governed

TOOL = Path(__file__).parent / "tools" / "audited_daemon.py"
POLICY = '[match]\nruntime = ["docker", "podman"]\n[limits]\nTasksMax = {tasks}\nMemoryHigh = "64M"\n'


def test_the_event_loop_never_blocks(governed: Governed) -> None:
    guest = governed.guest
    guest.push(TOOL, "/root/audited_daemon.py")
    override = "[Service]\nExecStart=\nExecStart=/usr/bin/python3 /root/audited_daemon.py\nProtectHome=no\n"
    guest.write("/etc/systemd/system/governor.service.d/audited.conf", override)
    guest.sh("systemctl daemon-reload; systemctl restart governor", timeout=120)
    governed.policy("50-all", POLICY.format(tasks=60))
    first = governed.docker("one", "--label", "x=y")
    governed.wait_value(first, "pids.max", "60", timeout=60)
    governed.policy("50-all", POLICY.format(tasks=61))
    governed.wait_value(first, "pids.max", "61", timeout=60)
    governed.policy("50-all", "nonsense")
    second = governed.podman("two")
    governed.wait_value(second, "pids.max", "61", timeout=60)
    guest.sh(
        "docker rm -f one; systemctl daemon-reload; governorctl list; governorctl explain two; governorctl doctor",
        check=False,
    )
    guest.sh(
        "governorctl set two TasksMax=30; governorctl release two; governorctl mode observe; governorctl mode enforce; sleep 12"
    )
    assert guest.read("/run/governor/audited-daemon.log") == ""
