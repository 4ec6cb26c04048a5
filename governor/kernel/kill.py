"""Kill what is in a cgroup: all of it at once, or only the process that holds most memory.

cgroup.kill: Documentation/admin-guide/cgroup-v2.rst (since 5.14), which reaches frozen processes and those that fork
meanwhile. Callers have made sure that a policy says kill.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from governor.kernel.process import name_of, start_ticks
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from governor.kernel.cgroup import Cgroup

_LOOK_AT = 65536


@dataclass(frozen=True, slots=True)
class Victim:
    """A process: its pid, the name that it gave itself, and its memory in bytes, swapped out or not."""

    pid: int
    name: str
    memory_bytes: int


def kill_all(cgroup: Cgroup) -> None:
    """Kill every process in `cgroup` and below. Raises Gone, Unsupported (before Linux 5.14), ActuationError."""
    if not cgroup.exists():
        raise Gone(f"cgroup {cgroup.path!r} is gone")
    if cgroup.read_bytes("cgroup.events") is None:
        raise Unsupported("the root cgroup is not killed")
    cgroup.write("cgroup.kill", "1")


def kill_biggest(cgroup: Cgroup, proc_root: str = "/proc") -> Victim:
    """Kill the process in `cgroup` with most memory and return it. Raises Gone where there is none, ActuationError."""
    found = biggest(cgroup, proc_root)
    if found is None:
        raise Gone(f"no process is left in {cgroup.path!r}")
    victim, started = found
    try:
        process = os.pidfd_open(victim.pid)
    except OSError as error:
        raise Gone(f"process {victim.pid} is gone") from error
    try:
        # the pid may have come back between the look and the descriptor; from here on it cannot
        if start_ticks(victim.pid, proc_root) != started or victim.pid not in cgroup.processes():
            raise Gone(f"process {victim.pid} is another one by now")
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError as error:
        raise Gone(f"process {victim.pid} is gone") from error
    except OSError as error:
        raise ActuationError(f"process {victim.pid} cannot be killed: {error.strerror}") from error
    finally:
        os.close(process)
    return victim


def biggest(cgroup: Cgroup, proc_root: str = "/proc") -> tuple[Victim, int] | None:
    """Return the process with most memory and its start time in ticks, None where no process is left. Raises Gone."""
    found: list[tuple[Victim, int]] = []
    for pid in cgroup.processes()[:_LOOK_AT]:
        with suppress(Gone):
            found.append(
                (Victim(pid, name_of(pid, proc_root), _memory_bytes(pid, proc_root)), start_ticks(pid, proc_root))
            )
    return max(found, key=lambda item: item[0].memory_bytes, default=None)


def _memory_bytes(pid: int, proc_root: str) -> int:
    """Return VmRSS + VmSwap (man proc_pid_status), 0 for a zombie. Raises Gone."""
    try:
        text = Path(proc_root, str(pid), "status").read_bytes()
    except OSError as error:
        raise Gone(f"process {pid} is gone") from error
    total = 0
    for line in text.splitlines():
        if line.startswith((b"VmRSS:", b"VmSwap:")):
            total += int(line.split()[1]) * 1024
    return total
