"""The guest with the service and the batch work in it, each in a container of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import say

if TYPE_CHECKING:
    from tests.vm.governed import Container, Governed

SOURCE: Final = Path(__file__).with_name("contend.c")
PROGRAM: Final = "/root/contend"
BOARD: Final = "/run/bench/board"
DISK: Final = "/srv/disk"
MOUNTS: Final = ("-v", "/srv:/srv", "-v", "/run/bench:/run/bench", "-v", f"{PROGRAM}:/contend:ro")

CPU, MEMORY, IO = "cpu", "memory", "io"
KINDS: Final = {CPU: 1, MEMORY: 2, IO: 3}
"""The antagonists, and what the board calls them."""
RATE: Final = 200
"""Requests a second."""
FREE_MIB: Final = 1100
"""What the memory antagonist and the service have in all: the rest of the guest's memory is taken away."""
DISK_BYTES: Final = 150_000_000
"""What the disk moves a second. Unheld it is the host's page cache: then the antagonist only takes the host's CPUs."""
THRASHED_MIB: Final = 1300
"""What the memory antagonist touches, at random: it does not fit."""

SET_UP: Final = f"""
set -e
mkfs.ext4 -qF /dev/vdb
mkdir -p {DISK} /run/bench
mount /dev/vdb {DISK}
dd if=/dev/zero of={DISK}/r bs=1M count=64 2>/dev/null
dd if=/dev/zero of={DISK}/w bs=1M count=256 2>/dev/null
dd if=/dev/zero of={DISK}/swap bs=1M count=1024 2>/dev/null
chmod 600 {DISK}/swap
mkswap -q {DISK}/swap
sync
{PROGRAM} set {BOARD} rate=0 reads=0 kind=0 megabytes={THRASHED_MIB}
"""
# $1 is what shall stay available, in MiB. Huge pages are what a memory hog cannot have and the kernel cannot swap.
SHRINK: Final = """
echo 3 >/proc/sys/vm/drop_caches
available=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
echo $(((available - $1) / 2)) >/proc/sys/vm/nr_hugepages
"""


@dataclass(frozen=True)
class Window:
    """What was done in one window: batch work in units a second, latencies in µs; usual: its median second."""

    seconds: int
    work: float
    usual_work: float
    usual_p99: float
    requests: int
    given_up: int
    p50: float
    p95: float
    p99: float


@dataclass
class Stage:
    """Both containers, and the board by which they are told what to do."""

    made: Governed
    service: Container
    batch: Container

    def set(self, **values: int) -> None:
        """Write on the board."""
        self.made.guest.run(PROGRAM, "set", BOARD, *(f"{name}={value}" for name, value in values.items()), timeout=300)

    def window(self, seconds: int, *flips: str) -> Window:
        """Return what is done in the next seconds; `flips` are the words of `contend window`."""
        done = self.made.guest.run(PROGRAM, "window", BOARD, str(seconds), *flips, timeout=seconds + 300)
        found: dict[str, Any] = json.loads(done.stdout)
        return Window(**found)

    def rest(self) -> None:
        """Let nobody work, and bring back what was swapped out."""
        self.set(rate=0, kind=0)
        self.made.guest.sh("swapoff -a; sync; sleep 1", timeout=600)

    def prepare(self, antagonist: str) -> None:
        """Make the guest ready for an antagonist: with that of memory there is swap and little memory."""
        self.rest()
        self.made.guest.run("docker", "start", "batch", timeout=120)
        self.set(reads=int(antagonist == IO))
        if antagonist == MEMORY:
            self.made.guest.sh(f"swapon {DISK}/swap", timeout=120)

    def shrink(self, antagonist: str) -> None:
        """Take memory away for the antagonist of memory, give it back for the others; make the disk one for IO."""
        self.rest()
        self.made.guest.hold_scratch(DISK_BYTES if antagonist == IO else 0)
        if antagonist == MEMORY:
            self.made.guest.sh(SHRINK, str(FREE_MIB), timeout=300)
        else:
            self.made.guest.sh("echo 0 >/proc/sys/vm/nr_hugepages", timeout=300)


def build(made: Governed, source: Path, program: str) -> None:
    """Build a C program here and take it to the guest."""
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory, "program")
        argv = ["gcc", "-O2", "-static", "-Wall", "-Wextra", "-o", str(built), str(source), "-lm", "-lpthread"]
        subprocess.run(argv, check=True)
        made.guest.push(built, program)


def set_up(made: Governed) -> Stage:
    """Make the disk, start both containers and let them wait."""
    say("making a file system, starting the service and the batch container")
    build(made, SOURCE, PROGRAM)
    made.guest.sh(SET_UP, timeout=600)
    service = made.docker("service", *MOUNTS, command=f"/contend service {BOARD} {DISK}/r")
    batch = made.docker("batch", *MOUNTS, command=f"/contend batch {BOARD} {DISK}/w")
    return Stage(made, service, batch)
