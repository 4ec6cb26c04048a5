"""Windows of time in which the daemon and a reader run side by side, and what each spent in them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import guests
from benchmarks.report import say

if TYPE_CHECKING:
    from tests.vm.governed import Governed

HERE: Final = Path(__file__).parent
SLICE: Final = "/sys/fs/cgroup/system.slice"
PATTERN: Final = "bench-*.scope"
POLICY: Final = f"""
[match]
unit = "{PATTERN}"

[limits]
CPUQuota = "50%"
MemoryHigh = "96M"
TasksMax = 77
"""
LIMITED: Final = {"cpu.max": "50000 100000", "memory.high": str(96 << 20), "pids.max": "77"}
"""What the policy leads to. The daemon reads these files of each governed cgroup once a tick (Enforcer.drifted)."""

FEEDBACK: Final = """
[control.right-size]
"""
"""One controller that reads five signals of each container once a tick and writes nothing."""

SAME: Final = "same files"
EVERY: Final = "every file"
READERS: Final = {SAME: " ".join(LIMITED), EVERY: ""}
SETTLE_SEC: Final = 5

# $1 seconds, then the reader's words. The daemon's time is its cgroup's, to the µs, over the same window.
WINDOW: Final = f"""
spent() {{ awk '/^usage_usec/ {{ print $2 }}' {SLICE}/governor.service/cpu.stat; }}
now() {{ awk '{{ print $1 }}' /proc/uptime; }}
began=$(now); before=$(spent)
read=$(/root/reader "$1" {SLICE} '{PATTERN}' $2)
after=$(spent); ended=$(now)
jq -n --argjson read "$read" "{{daemon_usec: ($after - $before), seconds: ($ended - $began), reader: \\$read}}"
"""


@dataclass(frozen=True)
class Window:
    """What was spent in one window, as CPU seconds a minute, and how many files the reader read in a tick."""

    containers: int
    reader: str
    daemon_cpu: float
    reader_cpu: float
    files: int


@dataclass(frozen=True)
class Memory:
    """The daemon's memory with so many containers: resident and highest resident, in MiB."""

    containers: int
    rss_mib: float
    peak_mib: float


def prepare(made: Governed, *, feedback: bool) -> None:
    """Build the reader here, take it and the maker of scopes to the guest, and set the policy."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "reader")
        subprocess.run(["gcc", "-O2", "-static", "-o", str(program), str(HERE / "reader.c")], check=True)
        made.guest.push(program, "/root/reader")
    made.guest.push(HERE / "scopes.py", "/root/scopes.py")
    guests.use_policy(made, POLICY + (FEEDBACK if feedback else ""))


def grow(made: Governed, before: int, count: int) -> None:
    """Make scopes until there are `count`, and return once all of them have their limits and the daemon rests."""
    say(f"making {count - before} scopes and waiting for their limits")
    made.guest.run("python3", "/root/scopes.py", str(before + 1), str(count), timeout=600)
    for file, value in LIMITED.items():
        script = f'[ "$(cat {SLICE}/{PATTERN}/{file} | grep -cx "{value}")" = {count} ]'
        made.guest.wait_until(script, timeout=600, interval=2)
    made.guest.run("sleep", str(SETTLE_SEC))


def measure(made: Governed, count: int, seconds: int, windows: int) -> list[Window]:
    """Return `windows` windows of `seconds` for each reader, in turns."""
    found = []
    for number in range(windows):
        for reader in READERS:
            say(f"{count} containers, window {number + 1} of {windows}, beside the reader of {reader}")
            found.append(_window(made, count, seconds, reader))
    return found


def memory(made: Governed, count: int) -> Memory:
    """Return the daemon's memory now."""
    script = "awk '/^VmRSS|^VmHWM/ { print $2 }' /proc/$1/status"
    peak, now = made.guest.sh(script, str(guests.main_pid(made))).stdout.split()
    return Memory(count, rss_mib=int(now) / 1024, peak_mib=int(peak) / 1024)


def _window(made: Governed, count: int, seconds: int, reader: str) -> Window:
    said = json.loads(made.guest.sh(WINDOW, str(seconds), READERS[reader], timeout=seconds + 120).stdout)
    return Window(
        containers=count,
        reader=reader,
        daemon_cpu=said["daemon_usec"] / 1e6 * 60 / said["seconds"],
        reader_cpu=said["reader"]["cpu_usec"] / 1e6 * 60 / seconds,
        files=said["reader"]["files"],
    )
