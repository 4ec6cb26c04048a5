"""Processes of containers: which cgroup one is in, and whether a container's own program runs yet.

Everything that a process says about itself is hostile: it may name itself as it likes, at any time. So the answers here
may delay something for a bounded time, and must never permit anything.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from governor.model.errors import Gone

if TYPE_CHECKING:
    from governor.kernel.cgroup import Cgroup

_RUNTIMES = frozenset(
    (
        "runc",
        "crun",
        "youki",
        "conmon",
        "conmonrs",
        "crio",
        "dockerd",
        "containerd-shim",
        "containerd-shim-runc-v1",
        "containerd-shim-runc-v2",
        "systemd-nspawn",
        "lxc-start",
        "lxc-execute",
    )
)
_INIT_COMM = re.compile(r"(?:runc|youki):\[")
"""runc names its stages "runc:[0:PARENT]", "runc:[1:CHILD]" and "runc:[2:INIT]" (libcontainer/nsenter/nsexec.c)."""

_CLONED = re.compile(r"/memfd:(?:runc|crun)_cloned:")
"""runc and crun run from a sealed copy of themselves (cloned_binary.c, after CVE-2019-5736)."""

_FORKED = re.compile(r"(?:.*/)?systemd(?:-executor)?")
"""A service between fork and exec is still systemd, under a name in parentheses."""

_LOOK_AT = 32
"""A runtime's init is one process or two: whoever makes thousands gains nothing by it."""


def payload_started(cgroup: Cgroup, proc_root: str = "/proc") -> bool | None:
    """Return whether any process in `cgroup` has exec'd past its runtime's init; None without processes. Raises Gone.

    A container may call itself "runc:[2:INIT]" for ever: give up waiting after a bounded time.
    """
    answers = [_is_payload(Path(proc_root, str(pid))) for pid in cgroup.processes()[:_LOOK_AT]]
    known = [answer for answer in answers if answer is not None]
    return any(known) if known else None


def cgroup_of(pid: int, proc_root: str = "/proc") -> str:
    """Return the path of the cgroup v2 in which `pid` is, with a leading slash. Raises Gone."""
    text = os.fsdecode(_read(Path(proc_root, str(pid), "cgroup")))
    for line in text.splitlines():
        if line.startswith("0::/"):
            return line.removeprefix("0::")
    raise Gone(f"process {pid} is in no cgroup v2")


def start_ticks(pid: int, proc_root: str = "/proc") -> int:
    """Return when `pid` started, in clock ticks since boot: with the pid it names one process. Raises Gone."""
    text = _read(Path(proc_root, str(pid), "stat"))
    fields = text[text.rfind(b")") + 1 :].split()  # the name in parentheses may hold anything, parentheses too
    try:
        return int(fields[19])  # field 22, starttime (man proc_pid_stat)
    except (IndexError, ValueError) as error:
        raise Gone(f"process {pid} has no start time") from error


def name_of(pid: int, proc_root: str = "/proc") -> str:
    """Return the process's name (comm, at most 15 bytes, chosen by the process). Raises Gone."""
    return os.fsdecode(_read(Path(proc_root, str(pid), "comm"))).removesuffix("\n")


def _is_payload(process: Path) -> bool | None:
    """Return whether this process is past its runtime's init; None for what is no process any more (or a zombie)."""
    try:
        name = name_of(int(process.name), str(process.parent))
        executable = os.fsdecode(process.joinpath("exe").readlink())
    except PermissionError:
        return _INIT_COMM.match(name) is None
    except (Gone, OSError):
        return None
    return not _is_runtime(name, executable.removesuffix(" (deleted)"))


def _is_runtime(name: str, executable: str) -> bool:
    if _INIT_COMM.match(name) or _CLONED.match(executable) or executable.rpartition("/")[2] in _RUNTIMES:
        return True
    # crun runs from a file without a name by now ("/"), and keeps its name for a moment after the payload's exec
    if name in _RUNTIMES or executable == "/":
        return True
    return name.startswith("(") and _FORKED.fullmatch(executable) is not None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # ESRCH: it ended between open and read
        raise Gone(f"process {path.parent.name} is gone") from error
