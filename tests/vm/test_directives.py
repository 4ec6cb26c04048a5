"""Every directive there is, set on a real unit and taken back: nothing of it may stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from governor.model.directives import BY_NAME

if TYPE_CHECKING:
    from tests.vm.governed import Container, Governed

pytestmark = pytest.mark.bookworm

LIMITS: dict[str, object] = {
    "CPUWeight": 300,
    "StartupCPUWeight": 400,
    "CPUQuota": "50%",
    "CPUQuotaPeriodSec": "50ms",
    "CPUBurst": "10ms",
    "AllowedCPUs": "0",
    "StartupAllowedCPUs": "0",
    "AllowedMemoryNodes": "0",
    "StartupAllowedMemoryNodes": "0",
    "MemoryMin": "1M",
    "MemoryLow": "2M",
    "MemoryHigh": "200M",
    "MemoryMax": "300M",
    "MemorySwapMax": "10M",
    "MemoryZSwapMax": "5M",
    "TasksMax": 70,
    "IOWeight": 200,
    "StartupIOWeight": 300,
    "IODeviceWeight": ["/dev/vdb 300"],
    "IOReadBandwidthMax": ["/dev/vdb 30M"],
    "IOWriteBandwidthMax": ["/dev/vdb 20M"],
    "IOReadIOPSMax": ["/dev/vdb 3000"],
    "IOWriteIOPSMax": ["/dev/vdb 2000"],
    "IODeviceLatencyTargetSec": ["/dev/vdb 50ms"],
    "IPAccounting": True,
    "IPAddressAllow": "192.0.2.0/24",
    "IPAddressDeny": "any",
    "SocketBindAllow": "tcp:9090",
    "SocketBindDeny": "any",
    "RestrictNetworkInterfaces": "lo",
    "DevicePolicy": "closed",
    "DeviceAllow": ["/dev/null rw", "/dev/vdb r"],
    "ManagedOOMSwap": "kill",
    "ManagedOOMMemoryPressure": "kill",
    "ManagedOOMMemoryPressureLimit": "80%",
}

IO = {"IOWeight", "StartupIOWeight", "IODeviceWeight", "IODeviceLatencyTargetUSec", "MemoryZSwapMax"}
"""Those that not every kernel can do (the guest's has no IO weights): refused or failed in words, and taken back."""
FRAMEWORK = {"SocketBindAllow", "SocketBindDeny", "RestrictNetworkInterfaces"}
"""Those for which systemd must have been built with its BPF framework; Debian 12's was not."""
DEVICES = {"DevicePolicy", "DeviceAllow"}


def test_the_list_is_complete() -> None:
    assert set(LIMITS) == set(BY_NAME)


def state(governed: Governed, container: Container) -> dict[str, Any]:
    """Return all that limits show in: the unit's properties, the cgroup's files, the programs attached to it."""
    properties = " ".join(f"-p {directive.property}" for directive in BY_NAME.values())
    script = f"""
    systemctl show {properties} {container.unit}
    cd /sys/fs/cgroup{container.cgroup}
    grep . cpu.weight cpu.max cpu.max.burst cpuset.cpus cpuset.mems memory.min memory.low memory.high memory.max \\
        memory.swap.max memory.zswap.max pids.max io.weight io.bfq.weight io.max io.latency 2>/dev/null
    bpftool -j cgroup list . | jq -r '.[] | .attach_type + " " + .name' | sort -u
    """
    lines = dict.fromkeys(governed.guest.sh(script).stdout.splitlines())
    # all of the guest's CPUs and its one memory node in words: a cgroup with processes takes no empty list any more
    for every in ("AllowedCPUs=0-1", "AllowedMemoryNodes=0", "cpuset.cpus:0-1", "cpuset.mems:0"):
        if every in lines:
            del lines[every]
            if "=" in every:
                lines[every.partition("=")[0] + "="] = None
    # any write has systemd attach its device program beside the runtime's, with the same rules
    lines.pop("cgroup_device sd_devices", None)
    return lines


def settled(governed: Governed, container: Container) -> None:
    """Wait until the policy's first round is over."""
    governed.guest.wait_until(f"governorctl explain {container.id} --json | grep -q SocketBindDeny", 60)
    governed.guest.sh("sleep 6")


def policy(container: Container, *names: str) -> str:
    lines = [f"{name} = {json.dumps(LIMITS[name])}" for name in names]
    return f'[match]\nunit = "{container.unit}"\n[limits]\n' + "\n".join(lines) + "\n"


@pytest.mark.parametrize("kind", ["docker", "scope"])
def test_every_directive_is_applied_and_taken_back(governed: Governed, kind: str) -> None:
    container = governed.docker("every") if kind == "docker" else governed.scope("whole")
    governed.guest.sh("sleep 3")
    before = state(governed, container)
    # a docker container's devices are let in by rules of runc's: see test_harm
    names = [name for name in LIMITS if kind == "scope" or name not in DEVICES]
    governed.policy("50-every", policy(container, *names))
    settled(governed, container)
    explained = governed.explained(container)
    missing = {BY_NAME[name].property for name in names} - set(explained)
    assert not missing
    refused = {name: row["State"] for name, row in explained.items() if row["State"] != "held"}
    without_bpf = "-BPF_FRAMEWORK" in governed.guest.run("systemctl", "--version").stdout
    lacking = FRAMEWORK if without_bpf else set()
    assert {name for name, words in refused.items() if "-BPF_FRAMEWORK" in words} == lacking
    assert set(refused) <= IO | lacking, refused
    programs = {line.split(" ")[-1] for line in state(governed, container)}
    assert {"sd_fw_ingress", "sd_fw_egress"} <= programs
    assert without_bpf or {"sd_bind4", "sd_bind6", "sd_restrictif_i", "sd_restrictif_e"} <= programs
    governed.no_policy("50-every")
    governed.guest.wait_until("[ $(ls /run/governor/ledger | wc -l) = 0 ]", 60)
    after = state(governed, container)
    assert not set(after) ^ set(before)
    assert {entry.get("GOVERNOR_PROPERTY") for entry in governed.journal("PRIORITY=3")} <= IO
    assert not governed.journal("PRIORITY=2")


def test_what_no_program_enforces_is_not_believed(governed: Governed) -> None:
    """systemd would say that it is set; a kernel without these programs would not do it."""
    script = (
        "from governor.kernel.attached import PROPERTIES, unenforced; from governor.kernel.cgroup import CgroupRoot;"
        "cgroup = CgroupRoot.find().open('/system.slice/dbus.service');"
        "print(sorted(unenforced(cgroup, dict.fromkeys(PROPERTIES, ('x',)))), sorted(unenforced(cgroup, {'IPAddressDeny': ()})))"
    )
    names = [
        "IPAccounting",
        "IPAddressAllow",
        "IPAddressDeny",
        "RestrictNetworkInterfaces",
        "SocketBindAllow",
        "SocketBindDeny",
    ]
    assert governed.guest.run("python3", "-c", script, timeout=120).stdout.strip() == f"{names} []"
