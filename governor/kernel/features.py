"""What the kernel and the host offer, found by looking for the thing itself, never by a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from governor.model.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROLLERS: Final = {
    "cpu": "CPUWeight=, CPUQuota= and CPUBurst= do nothing",
    "cpuset": "AllowedCPUs= and AllowedMemoryNodes= do nothing",
    "io": "IOWeight= and IO…Max= do nothing",
    "memory": "Memory…= does nothing",
    "pids": "TasksMax= does nothing",
}
"""The cgroup v2 controllers that limits need, and what their absence means."""

_FILES: Final = (
    ("cgroup-v2", "sys/fs/cgroup/cgroup.controllers", "the unified hierarchy; without it nothing works"),
    ("psi", "proc/pressure/memory", "pressure stall information; without it pressure is not shown"),
    ("systemd", "run/systemd/system", "the service manager; without it nothing works"),
    ("system-bus", "run/dbus/system_bus_socket", "D-Bus; without it nothing works"),
    ("journal", "run/systemd/journal/socket", "without it messages go to standard error"),
    ("btf", "sys/kernel/btf/vmlinux", "the kernel's types; without them no eBPF program loads"),
    ("docker-socket", "run/docker.sock", "names, images and labels of docker's containers"),
    ("podman-socket", "run/podman/podman.sock", "without it podman's names and labels come from its own files"),
)

_ANY_UNIT: Final = "sys/fs/cgroup/system.slice"
"""A cgroup that every systemd host has, to look for files that the root cgroup lacks."""

_IN_A_CGROUP: Final = (
    ("memory-reclaim", "memory.reclaim", "without it memory limits are not lowered below usage"),
    ("cpu-burst", "cpu.max.burst", "without it CPUBurst= does nothing"),
    ("zswap-limit", "memory.zswap.max", "without it MemoryZSwapMax= does nothing"),
)


def probe(root: Path = Path("/")) -> Iterator[Feature]:
    """Yield what can be found out without privileges on the host whose root directory is `root`."""
    for name, path, meaning in _FILES:
        yield Feature(name, (root / path).exists(), meaning)
    controllers = (_text(root / "sys/fs/cgroup/cgroup.controllers") or "").split()
    for controller, meaning in CONTROLLERS.items():
        yield Feature(f"controller-{controller}", controller in controllers, f"without it {meaning}")
    for name, file, meaning in _IN_A_CGROUP:
        yield Feature(name, (root / _ANY_UNIT / file).exists(), meaning)
    lsm = (_text(root / "sys/kernel/security/lsm") or "").split(",")
    yield Feature("bpf-lsm", "bpf" in lsm, "the kernel's bpf LSM; without it some system call rules are refused")
    yield _io_weight(root)


def io_weights_act(root: Path = Path("/")) -> bool:
    """Return whether IOWeight= has a scheduler that keeps it: bfq, or io.cost switched on for a device."""
    costed = "enable=1" in (_text(root / "sys/fs/cgroup/io.cost.qos") or "")
    schedulers = (_text(path) or "" for path in (root / "sys/block").glob("*/queue/scheduler"))
    return costed or any("[bfq]" in scheduler for scheduler in schedulers)


def _io_weight(root: Path) -> Feature:
    return Feature(
        "io-weight",
        io_weights_act(root),
        "IOWeight= is kept; without it use bandwidth, or switch on io.cost (io.cost.qos: enable=1) or bfq",
    )


def _text(path: Path) -> str | None:
    """Return what a file of the kernel says, None where there is none or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
