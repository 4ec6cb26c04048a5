"""The package: installed, upgraded without a flap, purged without a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.governed import Governed

pytestmark = pytest.mark.bookworm

POLICY = '[match]\nname = "up"\n[limits]\nTasksMax = 61\nMemoryHigh = "64M"\n'


def test_installing_starts_a_hardened_service(governed: Governed) -> None:
    show = governed.guest.sh("systemctl show governor -P ActiveState -P StatusText -P Type").stdout.split("\n")
    assert "active" in show
    assert any("policies" in line for line in show)
    score = governed.guest.sh("systemd-analyze security governor --no-pager | tail -1").stdout
    assert float(score.split("governor.service:")[1].split()[0]) <= 4.0


def test_an_upgrade_does_not_flap(governed: Governed) -> None:
    container = governed.docker("up")
    governed.policy("50-up", POLICY)
    governed.wait_value(container, "pids.max", "61")
    path = f"/sys/fs/cgroup{container.cgroup}"
    watcher = governed.guest.spawn(f'while :; do read -r p <{path}/pids.max; [ "$p" = 61 ] || echo "flap: $p"; done')
    script = """
    set -e; cd /root; rm -rf x; dpkg-deb -R governor.deb x
    sed -i 's/^Version: .*/&+1/' x/DEBIAN/control; dpkg-deb -b x next.deb >/dev/null
    before=$(systemctl show -P MainPID governor)
    apt-get install --quiet --yes ./next.deb >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
    [ "$before" != "$(systemctl show -P MainPID governor)" ]
    """
    governed.guest.sh(script, timeout=300)
    governed.wait_ready()
    governed.guest.sh("sleep 3")
    watcher.stop()
    assert "flap" not in watcher.output()
    assert governed.value(container, "pids.max") == "61"


def test_purging_restores_every_limit_and_leaves_nothing(governed: Governed) -> None:
    container = governed.docker("purged", "--pids-limit", "300")
    governed.policy("50-up", POLICY.replace('"up"', '"purged"'))
    governed.wait_value(container, "pids.max", "61")
    governed.guest.sh("DEBIAN_FRONTEND=noninteractive apt-get purge --quiet --yes governor", timeout=300)
    assert governed.value(container, "pids.max") == "300"
    assert governed.value(container, "memory.high") == "max"
    left = governed.guest.sh(
        "find / -xdev -iname '*governor*' -not -path '/root/*' -not -path '/proc/*' -not -path '/sys/*' "
        "-not -path '/var/log/*' -not -path '/var/cache/*' -not -path '/usr/share/doc/linux*' "
        "-not -path '/usr/lib/modules/*' -not -path '/usr/src/*' -not -path '/usr/lib/linux*' | sort"
    ).stdout
    assert [line for line in left.splitlines() if "cpufreq" not in line] == []
    assert governed.guest.sh("systemctl list-units --all 'governor*' --no-legend").stdout.strip() == ""
