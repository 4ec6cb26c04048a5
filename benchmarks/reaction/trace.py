"""The guest kernel's own clock for both ends: a tracepoint at exec, a probe around the write to the cgroup's file.

Nothing polls, so nothing disturbs what is measured, and both times come from one clock (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.vm.guest import Guest

DIRECTORY: Final = "/sys/kernel/tracing/instances/bench"
PAYLOAD: Final = "/bin/sleep"
"""The container's own program. The guest's is /usr/bin/sleep, so only a container's exec has this name."""

# $1: the kernel function that takes a write to the file. The text is read at its entry, the time at its return.
PREPARE: Final = f"""
cd /sys/kernel/tracing
echo "p:bench/begins $1 value=+0(%si):string" >> kprobe_events
echo "r:bench/ends $1" >> kprobe_events
mkdir -p {DIRECTORY}; cd {DIRECTORY}
echo mono > trace_clock
echo 1 > events/bench/enable
echo 1 > events/cgroup/cgroup_mkdir/enable
echo 'filename == "{PAYLOAD}"' > events/sched/sched_process_exec/filter
echo 1 > events/sched/sched_process_exec/enable
"""
CLEAR: Final = f"echo > {DIRECTORY}/trace"

_EVENT: Final = re.compile(r"^.*-(\d+) +\[\d+\] \S+ +(\d+\.\d+): (\w+): ([^\n]*)", re.MULTILINE)
_SCOPE: Final = re.compile(r"path=(/\S*/(?:docker|libpod)-[0-9a-f]{64}\.scope)$")


@dataclass(frozen=True)
class Limit:
    """One limit: its file, the kernel's function for it, the policy's line, systemd's property, the file's text."""

    file: str
    function: str
    directive: str
    property: str
    value: int
    text: str


LIMITS: Final = {
    "pids.max": Limit("pids.max", "pids_max_write", "TasksMax = 77", "TasksMax", 77, "77"),
    "cpu.max": Limit("cpu.max", "cpu_max_write", 'CPUQuota = "50%"', "CPUQuotaPerSecUSec", 500_000, "50000 100000"),
}


@dataclass(frozen=True)
class Times:
    """When what happened, in seconds of the guest's CLOCK_MONOTONIC; None for what did not."""

    scope: float | None
    executed: float | None
    limited: float | None


def prepare(guest: Guest, limit: Limit) -> None:
    """Have the kernel write down execs of the payload, new cgroups and writes to the limit's file."""
    guest.sh(PREPARE, limit.function)


def times(text: str, limit: Limit) -> Times:
    """Return what a trace says of one container: the first scope, the first exec, the first write of the limit."""
    scope = executed = limited = None
    writing: set[str] = set()
    for task, stamp, event, detail in _EVENT.findall(text):
        if event == "cgroup_mkdir" and _SCOPE.search(detail):
            scope = scope or float(stamp)
        elif event == "sched_process_exec":
            executed = executed or float(stamp)
        elif event == "begins" and _written(detail) == limit.text:
            writing.add(task)
        elif event == "ends" and task in writing:
            writing.discard(task)
            limited = limited or float(stamp)
    return Times(scope, executed, limited)


def _written(detail: str) -> str:
    """Return the text of a write; the newline that ends most of them has ended the trace's line too."""
    return detail.partition('value="')[2].rstrip('"')
