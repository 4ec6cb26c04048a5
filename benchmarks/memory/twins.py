"""Containers with the same working set side by side: one is governed, two others are not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import guests
from benchmarks.contention.stage import build
from benchmarks.report import say

if TYPE_CHECKING:
    from tests.vm.governed import Container, Governed

SOURCE: Final = Path(__file__).with_name("cold.c")
PROGRAM: Final = "/root/cold"
PLACE: Final = "/run/bench"
MOUNTS: Final = ("-v", "/srv:/srv", "-v", f"{PLACE}:{PLACE}", "-v", f"{PROGRAM}:/cold:ro")
POLICY: Final = """
[match]
name = "*-governed"

[control.memory-probe]
"""
GOVERNED, NOTHING, AGAIN = "governed", "nothing", "again"
ROLES: Final = (GOVERNED, NOTHING, AGAIN)
"""`again` is a second one to which nothing is done: what it differs from the first by is chance."""

ANON, FILE = "anon", "file"
ZRAM, DISK = "zram", "disk"
MEGABYTES: Final = 256
HOT_PERCENT: Final = 20
SWAP: Final = {
    ZRAM: "modprobe zram && zramctl --find --size 2G >/dev/null && mkswap -q /dev/zram0 && swapon -p 10 /dev/zram0",
    DISK: "mkswap -q /dev/vdb && swapon -p 10 /dev/vdb",
}
READ: Final = """
cat /proc/uptime
{program} read {boards}
for cgroup in {cgroups}; do
    for file in memory.current memory.swap.current; do cat /sys/fs/cgroup$cgroup/$file; done
done
"""


@dataclass(frozen=True)
class Look:
    """What one container has done and has at a moment: µs that units took, bytes."""

    kind: str
    role: str
    seconds: float
    units: int
    busy_usec: int
    current_bytes: int
    swap_bytes: int


@dataclass
class Twins:
    """All containers of one swap device."""

    made: Governed
    containers: dict[tuple[str, str], Container]

    def look(self) -> list[Look]:
        """Return what each has done and has now."""
        boards = " ".join(f"{PLACE}/{kind}-{role}" for kind, role in self.containers)
        cgroups = " ".join(container.cgroup for container in self.containers.values())
        said = self.made.guest.sh(READ.format(program=PROGRAM, boards=boards, cgroups=cgroups), timeout=120).stdout
        uptime, done, *amounts = said.splitlines()
        seconds, sizes = float(uptime.split()[0]), [int(amount) for amount in amounts]
        return [
            Look(kind, role, seconds, one["units"], one["busy_usec"], sizes[2 * index], sizes[2 * index + 1])
            for index, ((kind, role), one) in enumerate(zip(self.containers, json.loads(done), strict=True))
        ]

    def watch(self, seconds: int, every: int) -> list[Look]:
        """Return looks over so many seconds."""
        found = self.look()
        for passed in range(every, seconds + 1, every):
            self.made.guest.run("sleep", str(every), timeout=every + 120)
            found += self.look()
            mib = {look.kind: look.current_bytes >> 20 for look in found[-len(self.containers) :] if _governed(look)}
            say(f"after {passed} s governed containers have {mib} MiB")
        return found

    def end(self) -> None:
        """Remove them and their swap."""
        names = " ".join(f"{kind}-{role}" for kind, role in self.containers)
        self.made.no_policy("50-bench")
        self.made.guest.sh(f"docker rm -f {names} >/dev/null; swapoff -a; rm -f /srv/cold-*", timeout=300)


def start(made: Governed, swap: str, kinds: tuple[str, ...]) -> Twins:
    """Start the containers and return once all have made their working set; nothing is governed yet."""
    say(f"starting {len(kinds) * len(ROLES)} containers of {MEGABYTES} MiB, swap on {swap}")
    build(made, SOURCE, PROGRAM)
    made.guest.sh(f"mkdir -p {PLACE} && {SWAP[swap]}", timeout=120)
    containers = {(kind, role): _start(made, kind, role) for kind in kinds for role in ROLES}
    twins = Twins(made, containers)
    names = " ".join(f"{PLACE}/{kind}-{role}" for kind, role in containers)
    made.guest.wait_until(f"! {PROGRAM} read {names} | grep -q '\"units\": 0'", timeout=300, interval=2)
    return twins


def govern(twins: Twins) -> None:
    """Put the policy in force: from now on cold memory is taken from the governed ones."""
    guests.use_policy(twins.made, POLICY)


def _start(made: Governed, kind: str, role: str) -> Container:
    name = f"{kind}-{role}"
    words = f"/cold {kind} {MEGABYTES} {HOT_PERCENT} {PLACE}/{name}" + (f" /srv/cold-{name}" if kind == FILE else "")
    made.guest.sh(f"rm -f {PLACE}/{name}")
    return made.docker(name, *MOUNTS, command=words)


def _governed(look: Look) -> bool:
    return look.role == GOVERNED
