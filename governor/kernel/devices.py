"""Which devices a container may use now, and which of them systemd would take away with its next write.

Whenever a property of a unit changes, systemd attaches its device filter again, made from DevicePolicy= and
DeviceAllow= (systemd: src/core/cgroup.c, cgroup_apply_devices; src/core/bpf-devices.c). All filters of a cgroup and its
ancestors must allow an access. So a device that some hook let in by replacing systemd's filter is lost at that moment.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import TYPE_CHECKING

from governor.kernel import bpf, bpf_run
from governor.kernel.safe_open import entries_beneath
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from governor.kernel.cgroup import Cgroup

MAX_NODES = 2048
"""A /dev of the container's own making may hold any number; a host's holds a few hundred."""

_MAX_DEPTH = 3
"""/dev/dri/by-path is the deepest that hardware makes."""

_TYPES = {"b": 1, "c": 2}
"""linux/bpf.h, BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR"""

_NUMBERED = re.compile(r"/dev/(block|char)/([0-9]{1,7}):([0-9]{1,7})")
_STATIC = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx")
"""What DevicePolicy=closed, and auto with any DeviceAllow, allow besides (bpf_devices_allow_list_static)."""


class Access(IntFlag):
    """What is asked for: linux/bpf.h, BPF_DEVCG_ACC_*. Opening for both asks for READ | WRITE at once."""

    MKNOD = 1
    READ = 2
    WRITE = 4


ASKED = (Access.READ | Access.WRITE, Access.READ, Access.WRITE, Access.MKNOD)
"""All that the kernel ever asks a filter in one go (devcgroup_inode_permission, devcgroup_inode_mknod)."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device: `type` is "b" or "c". `path` is where it was seen, for messages only; it is hostile data."""

    type: str
    major: int
    minor: int
    path: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.path!r} ({self.type} {self.major}:{self.minor})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of systemd's filter; None stands for any."""

    type: str
    major: int | None
    minor: int | None
    access: Access

    def allows(self, node: Node, access: Access) -> bool:
        """Return whether this line alone lets `access` to `node` through: all of it, as systemd's filter has it."""
        return (
            self.type == node.type
            and self.major in (None, node.major)
            and self.minor in (None, node.minor)
            and access & self.access == access
        )


Filter = tuple[bpf_run.Instruction, ...]


def lost_devices(
    cgroup: Cgroup,
    device_policy: str,
    device_allow: Iterable[tuple[str, str]],
    *,
    proc_root: str = "/proc",
    dev: str | None = "/dev",
) -> tuple[Node, ...]:
    """Return the devices that the processes in `cgroup` may use now and would lose by a write to the unit.

    `device_policy` and `device_allow` are the unit's properties as on D-Bus. `cgroup` is the deepest one (the payload).
    `dev` has nodes that count as well, for processes that make their own; None leaves it at the container's own /dev.
    Where the kernel does not let us look at a filter, the nodes in the container's own /dev count as used. Raises Gone.
    Reads the container's file system: call it in a worker thread.
    """
    rules = systemd_rules(device_policy, device_allow, proc_root=proc_root)
    if rules is None:
        return ()
    own = _doubtful(container_nodes(cgroup, proc_root), rules)
    host = () if dev is None else _doubtful(nodes_beneath(_as_init_sees(dev, proc_root)), rules)
    if not own and not host:  # as with most containers: nothing has to be asked of a filter
        return ()
    allows = device_filter(cgroup)
    return unexpressed(allowed_accesses(own, host, allows), rules)


def _doubtful(nodes: Iterable[Node], rules: Iterable[Rule]) -> tuple[Node, ...]:
    """Return the nodes of which systemd's `rules` do not allow everything: only these can be lost."""
    held = tuple(rules)
    return tuple(node for node in nodes if not all(any(rule.allows(node, one) for rule in held) for one in ASKED))


def unexpressed(accesses: Iterable[tuple[Node, Access]], rules: Iterable[Rule]) -> tuple[Node, ...]:
    """Return the nodes, each once, of which some access in `accesses` passes none of systemd's `rules`. Pure."""
    held = tuple(rules)
    lost = {node: None for node, access in accesses if not any(rule.allows(node, access) for rule in held)}
    return tuple(lost)


def allowed_accesses(
    own: Iterable[Node], host: Iterable[Node], allows: Callable[[Node, Access], bool | None]
) -> Iterator[tuple[Node, Access]]:
    """Yield what the kernel allows of all nodes, and, where it cannot be known, the use of the container's own."""
    mine = dict.fromkeys(own)
    for node in dict.fromkeys((*mine, *host)):
        for access in ASKED:
            answer = allows(node, access)
            if answer or (answer is None and node in mine and access != Access.MKNOD):
                yield node, access


def device_filter(cgroup: Cgroup) -> Callable[[Node, Access], bool | None]:
    """Return a function that answers whether the kernel allows an access; None where that cannot be known.

    Raises Gone. Every program must allow: one that denies decides, even beside one that cannot be interpreted.
    """
    filters = _filters(cgroup)

    def allows(node: Node, access: Access) -> bool | None:
        context = struct.pack("=III", int(access) << 16 | _TYPES[node.type], node.major, node.minor)
        answers = [None if code is None else bpf_run.run(code, context) for code in filters]
        if 0 in answers:
            return False
        return None if None in answers else True

    return allows


def _filters(cgroup: Cgroup) -> list[Filter | None]:
    """Return the device programs in force, decoded; None for each that we may not see."""
    try:
        ids = bpf.effective_programs(cgroup.fileno(), bpf.CGROUP_DEVICE)
        return [_decoded(program_id) for program_id in ids]
    except Unsupported:
        return [None]


def _decoded(program_id: int) -> Filter | None:
    """Return the instructions; None where hidden or just replaced, which leaves the answer open."""
    with suppress(Gone):
        code = bpf.program(program_id).code
        return bpf_run.decode(code) if code else None
    return None


def systemd_rules(
    device_policy: str, device_allow: Iterable[tuple[str, str]], *, proc_root: str = "/proc"
) -> tuple[Rule, ...] | None:
    """Return the lines of the filter that systemd would attach; None where it would attach none."""
    entries = [(path, access) for path, access in device_allow if access]
    if device_policy == "auto" and not entries:
        return None
    rules = [rule for path, access in entries for rule in _rules_of(path, _access(access), proc_root)]
    if device_policy != "strict":
        everything = Access.READ | Access.WRITE | Access.MKNOD
        rules += [rule for path in _STATIC for rule in _rules_of(path, everything, proc_root)]
        rules += _rules_of("char-pts", Access.READ | Access.WRITE, proc_root)
    return tuple(rules)


def container_nodes(cgroup: Cgroup, proc_root: str = "/proc") -> tuple[Node, ...]:
    """Return the device nodes in the /dev of the first process in `cgroup` that still has one. Raises Gone."""
    for pid in cgroup.processes()[:16]:
        with suppress(OSError):
            root = os.open(f"{proc_root}/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return tuple(_nodes(root, "dev", 0))[:MAX_NODES]
            finally:
                os.close(root)
    return ()


def nodes_beneath(directory: str) -> tuple[Node, ...]:
    """Return the device nodes in a directory of the host's own."""
    try:
        root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        return tuple(_nodes(root, ".", 0))[:MAX_NODES]
    finally:
        os.close(root)


def _nodes(root_fd: int, path: str, depth: int) -> Iterator[Node]:
    try:
        entries = entries_beneath(root_fd, path, MAX_NODES)
    except (Gone, Unsupported):
        return
    for name, status in entries:
        place = f"{path}/{name}"
        # 0:0 is no device: systemd lays such nodes over what a unit must not see (ProtectKernelLogs= over /dev/kmsg)
        if status.st_rdev and (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
            yield Node(kind, os.major(status.st_rdev), os.minor(status.st_rdev), place)
        elif stat.S_ISDIR(status.st_mode) and depth < _MAX_DEPTH:
            yield from _nodes(root_fd, place, depth + 1)


def _rules_of(path: str, access: Access, proc_root: str) -> list[Rule]:
    """Return what systemd makes of one DeviceAllow= entry; nothing where it skips the entry."""
    if number := _NUMBERED.fullmatch(path):
        return [Rule(number[1][0], int(number[2]), int(number[3]), access)]
    if path.startswith("/dev/"):
        return _rules_of_node(_as_init_sees(path, proc_root), access)
    kind, dash, name = path.partition("-")
    if not dash or kind not in ("block", "char"):
        return []
    if name == "*":
        return [Rule(kind[0], None, None, access)]
    majors = [int(name)] if re.fullmatch(r"[0-9]{1,9}", name) else _majors(kind, name, proc_root)
    return [Rule(kind[0], major, None, access) for major in majors]


def _rules_of_node(path: str, access: Access) -> list[Rule]:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return []
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return []
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
    return [Rule(kind, os.major(status.st_rdev), os.minor(status.st_rdev), access)]


def _as_init_sees(path: str, proc_root: str) -> str:
    """Return `path` as PID 1 resolves it: our own unit's sandbox covers some nodes of /dev. Else `path` itself."""
    seen = f"{proc_root}/1/root{path}"
    return seen if "\0" not in seen and os.access(seen, os.F_OK) else path


def _majors(kind: str, pattern: str, proc_root: str) -> list[int]:
    """Return the majors whose driver's name matches, from /proc/devices."""
    try:
        text = Path(proc_root, "devices").read_text()
    except OSError:
        return []
    section = text.partition("Character devices:" if kind == "char" else "Block devices:")[2].partition("\n\n")[0]
    lines = (line.split(maxsplit=1) for line in section.splitlines() if line.strip())
    return [int(line[0]) for line in lines if len(line) > 1 and fnmatch.fnmatchcase(line[1].strip(), pattern)]


def _access(text: str) -> Access:
    letters = {"r": Access.READ, "w": Access.WRITE, "m": Access.MKNOD}
    found = Access(0)
    for letter in text:
        found |= letters.get(letter, Access(0))
    return found
