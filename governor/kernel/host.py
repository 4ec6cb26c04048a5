"""What the host has, as far as a limit's canonical value depends on it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from governor.kernel.blockdev import whole_disk
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.features import io_weights_act
from governor.model.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Totals that shares refer to, what exists, and how paths become devices."""

    memory_total_bytes: int
    page_size_bytes: int = 4096
    cpus: tuple[int, ...]
    """CPUs that can ever be there (possible): the kernel refuses others in cpuset.cpus, but takes offline ones."""
    memory_nodes: tuple[int, ...] = (0,)
    tasks_max: int
    """What 100 % of TasksMax means to systemd: the smaller of kernel.pid_max and kernel.threads-max."""
    bfq_only: bool = False
    """Whether io.bfq.weight is the only weight file: its 1 to 1000 cannot tell all of 1 to 10000 apart."""
    io_weights_act: bool = True
    """Whether any disk heeds IO weights: bfq, or io.cost switched on."""
    block_device: Callable[[str], str] = field(default=whole_disk, compare=False)
    """Path → "major:minor" of the whole disk. Raises ActuationError."""

    @classmethod
    def probe(cls, proc_root: str = "/proc", sys_root: str = "/sys") -> Self:
        """Return what this host has. Raises Unsupported where /proc or /sys does not tell."""
        proc, sys = Path(proc_root), Path(sys_root)
        try:
            return cls(
                memory_total_bytes=_memory_total_bytes((proc / "meminfo").read_text()),
                page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
                cpus=parse_list((sys / "devices/system/cpu/possible").read_text()),
                memory_nodes=_memory_nodes(sys / "devices/system/node/possible"),
                tasks_max=min(int((proc / "sys/kernel" / name).read_text()) for name in ("pid_max", "threads-max")),
                bfq_only=_bfq_only(f"{sys_root}/fs/cgroup"),
                io_weights_act=io_weights_act(sys.parent),
                block_device=partial(whole_disk, proc_root=proc_root, sys_root=sys_root),
            )
        except (OSError, ValueError) as error:
            raise Unsupported(f"cannot tell what this host has: {error}") from error


def parse_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a kernel list ("0-3,8", man cpuset(7), List format), sorted. Raises ValueError."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if part:
            numbers.update(range(int(first), int(last if dash else first) + 1))
    return tuple(sorted(numbers))


def format_list(numbers: tuple[int, ...]) -> str:
    """Return sorted `numbers` as the kernel prints them: neighbours joined, "0-3,8"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)


def _memory_total_bytes(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no MemTotal in meminfo")


def _memory_nodes(possible: Path) -> tuple[int, ...]:
    return parse_list(possible.read_text()) if possible.exists() else (0,)


def _bfq_only(cgroup_path: str) -> bool:
    """Return whether the first cgroup that has a weight file has only bfq's; the root itself never has one."""
    try:
        root = CgroupRoot.find(cgroup_path)
    except Unsupported:
        return False
    for path, _ in root.tree():
        directory = Path(f"{root.path}{path}")
        if (directory / "io.weight").exists():
            return False
        if (directory / "io.bfq.weight").exists():
            return True
    return False
