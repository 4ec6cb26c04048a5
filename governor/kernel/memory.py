"""How much memory a cgroup uses, how much of it could be reclaimed, and one bounded step of doing so.

Files: Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files".
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from governor.model.errors import ActuationError, Unsupported
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from governor.kernel.cgroup import Cgroup

_FILE_PAGES = ("active_file", "inactive_file", "slab_reclaimable")
_SWAPPABLE = ("active_anon", "inactive_anon")


def current_bytes(cgroup: Cgroup) -> int | None:
    """Return memory.current, the usage with that of all below; None without the memory controller. Raises Gone."""
    return _number(cgroup.read("memory.current"))


def unreclaimable_bytes(cgroup: Cgroup, proc_root: str = "/proc") -> int | None:
    """Return the usage that no reclaim can take away; None without the memory controller. Raises Gone.

    That is memory.current less the file pages and reclaimable slab, and less what anonymous memory fits into swap.
    """
    current = current_bytes(cgroup)
    statistics = cgroup.read("memory.stat")
    if current is None or statistics is None:
        return None
    fields = parse_stat(statistics)
    files = sum(fields.get(name, 0) for name in _FILE_PAGES)
    swappable = sum(fields.get(name, 0) for name in _SWAPPABLE)
    return max(0, current - files - min(swappable, _swap_left_bytes(cgroup, proc_root)))


def reclaim(cgroup: Cgroup, amount_bytes: int) -> None:
    """Ask the kernel once to reclaim `amount_bytes`; that it reclaimed less is no error. Blocks: call it in a worker.

    Raises Gone, Unsupported where the kernel has no memory.reclaim (before 5.19), and ActuationError.
    """
    try:
        cgroup.write("memory.reclaim", str(amount_bytes))
    except ActuationError as error:
        reason = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
        if reason == errno.EAGAIN:
            return
        if reason == errno.ENOENT:
            raise Unsupported("this kernel has no memory.reclaim: memory limits are not lowered below usage") from error
        raise


def parse_stat(text: str) -> dict[str, int]:
    """Return the fields of a flat keyed file such as memory.stat; a line that is no "name number" is left out."""
    fields = {}
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if number.isdecimal():
            fields[name] = int(number)
    return fields


def _swap_left_bytes(cgroup: Cgroup, proc_root: str) -> int:
    """Return how much more may be swapped out: by this cgroup's own limit and by what the host has free."""
    limit, used = _number(cgroup.read("memory.swap.max")), _number(cgroup.read("memory.swap.current"))
    if limit is None or used is None:  # swap accounting is off, or there is none
        return 0
    return max(0, min(limit - used, _swap_free_bytes(proc_root)))


def _swap_free_bytes(proc_root: str) -> int:
    try:
        lines = Path(proc_root, "meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("SwapFree:")), 0)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    return INFINITY if text.strip() == "max" else int(text)
