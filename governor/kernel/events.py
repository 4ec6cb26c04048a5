"""Changes of a cgroup's event files (memory.events) by inotify(7): the kernel tells, nobody polls.

The kernel says IN_MODIFY when a counter rises in the cgroup or below it, at most every 10 ms a file (cgroup_file_notify
in kernel/cgroup/cgroup.c; Documentation/admin-guide/cgroup-v2.rst, "memory.events"). A wake decides nothing: who is
woken reads the file.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from typing import TYPE_CHECKING, Final

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.kernel.cgroup import Cgroup

BATCH_SEC: Final = 0.02
"""Changes that come within this time wake once."""

_MODIFIED: Final = 0x00000002  # IN_MODIFY, sys/inotify.h
_OVERFLOWED: Final = 0x00004000  # IN_Q_OVERFLOW
_ENDED: Final = 0x00008000  # IN_IGNORED: the file is gone, or the watch was taken away
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK | IN_CLOEXEC have the same values
_HEADER: Final = struct.Struct("iIII")
_READ_BYTES: Final = 64 * 1024


class EventFiles:
    """Calls `woken(inodes)` on the event loop after an event file of those cgroups changed. Belongs to the loop."""

    def __init__(self, woken: Callable[[frozenset[int]], None], file: str = "memory.events") -> None:
        """Watch `file` of each cgroup that is added. Raises Unsupported where the kernel has no inotify left."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(_FLAGS)
        if self._fd < 0:
            raise Unsupported(f"inotify: {os.strerror(ctypes.get_errno())} (fs.inotify.max_user_instances)")
        self._woken = woken
        self._file = file
        self._inodes: dict[int, int] = {}
        """Watch descriptor → inode of the cgroup."""
        self._changed: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def __len__(self) -> int:
        """Return how many cgroups are watched."""
        return len(self._inodes)

    def add(self, cgroup: Cgroup) -> None:
        """Watch `cgroup`; twice is the same as once. Raises Gone, and Unsupported where it has no such file."""
        path = f"/proc/self/fd/{cgroup.fileno()}/{self._file}"  # the cgroup that was opened, whatever has its path now
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), _MODIFIED)
        if watch < 0:
            reason = os.strerror(ctypes.get_errno())
            if not cgroup.exists():
                raise Gone(f"cgroup {cgroup.path!r} is gone")
            raise Unsupported(f"cannot watch {self._file} of cgroup {cgroup.path!r}: {reason}")
        self._inodes[watch] = cgroup.inode

    def remove(self, inode: int) -> None:
        """Watch the cgroup `inode` no more; one that is not watched is no error.

        Needed for one that is gone, too: kernfs does not always say so, and the watch keeps what is left of it.
        """
        for watch in [watch for watch, whose in self._inodes.items() if whose == inode]:
            del self._inodes[watch]
            self._libc.inotify_rm_watch(self._fd, watch)
        self._changed.discard(inode)

    def close(self) -> None:
        """Watch nothing more; a second call does nothing."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._inodes.clear()
        self._changed.clear()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not self._changed:
            self._loop.call_later(BATCH_SEC, self._wake)
        for watch, mask in _events(data):
            self._note(watch, mask)

    def _note(self, watch: int, mask: int) -> None:
        if mask & _OVERFLOWED:  # nobody knows whose changes were lost
            self._changed.update(self._inodes.values())
        elif mask & _ENDED:
            self._inodes.pop(watch, None)
        elif watch in self._inodes:
            self._changed.add(self._inodes[watch])

    def _wake(self) -> None:
        inodes, self._changed = frozenset(self._changed), set()
        if inodes:
            self._woken(inodes)


def _events(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (watch descriptor, mask) of each event in `data`."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        watch, mask, _cookie, length = _HEADER.unpack_from(data, offset)
        yield watch, mask
        offset += _HEADER.size + length
