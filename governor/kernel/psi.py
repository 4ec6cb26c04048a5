"""Pressure stall information: its files parsed, and triggers that wake us when tasks begin to wait.

Documentation/accounting/psi.rst; the files of a cgroup are in Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import threading
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.kernel.cgroup import Cgroup

Pressure = tuple[tuple[int, ...], tuple[float, ...]]
"""(some, full) totals in µs and (some avg10, some avg60, full avg10, full avg60) as ratios, as far as there are any."""

NO_PRESSURE: Final[Pressure] = ((), ())
HOST: Final = 0
"""Stands for the whole host where a trigger's inode is asked for."""

_WORDS_OF_SOME: Final = 9
_WORDS_OF_BOTH: Final = 18
_SPENT: Final = (errno.ENODEV, errno.ENOENT)
_REASONS: Final = {
    errno.EOPNOTSUPP: "pressure accounting is off (psi=1 on the kernel's command line, cgroup.pressure)",
    errno.EINVAL: "the kernel refuses this window: 0.5 to 10 s, and without CAP_SYS_RESOURCE whole multiples of 2 s",
    errno.EPERM: "the kernel wants CAP_SYS_RESOURCE for it",
    errno.EACCES: "the file may not be written",
    errno.ENOENT: "the kernel has no pressure stall information",
}


def parse_totals(text: bytes) -> Pressure:
    """Return only the totals of a pressure file, in half the time of parse()."""
    some = text.find(b"total=")
    end = text.find(b"\n", some)
    full = text.find(b"total=", end)
    try:
        if some > 0 and text.startswith(b"some "):
            total = int(text[some + 6 : end])
            return (total, int(text[full + 6 :])) if full > end else (total,), ()
    except ValueError:
        pass
    return NO_PRESSURE


def parse(text: bytes) -> Pressure:
    """Return what a pressure file says; NO_PRESSURE where it is not understood. Averages are 0 to 1 here."""
    words = text.replace(b"=", b" ").split()
    try:
        if len(words) >= _WORDS_OF_BOTH and words[9] == b"full":
            averages = _ratio(words[2]), _ratio(words[4]), _ratio(words[11]), _ratio(words[13])
            return (int(words[8]), int(words[17])), averages
        if len(words) >= _WORDS_OF_SOME and words[0] == b"some":  # cpu, before Linux 5.13
            return (int(words[8]),), (_ratio(words[2]), _ratio(words[4]))
    except ValueError:
        pass
    return NO_PRESSURE


@lru_cache(maxsize=10_001)
def _ratio(percent: bytes) -> float:
    """Return a percentage as a ratio: the kernel knows only 0.00 to 100.00, and looking one up is quicker."""
    return float(percent) / 100


class PsiTriggers:
    """Calls `woken(inode)` on the event loop whenever a cgroup, or the host (HOST), has waited for long enough.

    A thread of its own waits for the kernel: poll(2) of a trigger takes its event away, and so an epoll that is itself
    watched by the event loop's loses it - the loop wakes and then finds nothing (seen on 6.18). A wake decides nothing:
    it may be late, and one that was under way when its trigger was removed still arrives.
    """

    def __init__(self, woken: Callable[[int], None]) -> None:
        """Start on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._woken = woken
        self._epoll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._lock = threading.Lock()
        self._inodes: dict[int, int] = {}
        """Descriptor of a trigger → whose it is."""
        self._thread = threading.Thread(target=self._wait, name="psi-triggers", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Return how many triggers there are."""
        return len(self._inodes)

    def add(self, cgroup: Cgroup, resource: str, share: str, stall_usec: int, window_usec: int) -> None:
        """Wake when tasks of `cgroup` waited for `resource` `stall_usec` of a window, at most once a window.

        `share` is some or full. May be called from a worker thread; the kernel starts a thread for the first trigger of
        a cgroup, so that it can take a moment. Raises Gone, and Unsupported in words.
        """
        try:
            fd = _armed(f"{resource}.pressure", cgroup.fileno(), f"{share} {stall_usec} {window_usec}")
        except OSError as error:
            if error.errno in _SPENT and not cgroup.exists():
                raise Gone(f"cgroup {cgroup.path!r} is gone") from error
            raise _unsupported(f"{cgroup.path!r} {resource}.pressure", error) from error
        self._watch(fd, cgroup.inode)

    def add_host(
        self, resource: str, share: str, stall_usec: int, window_usec: int, pressure: str = "/proc/pressure"
    ) -> None:
        """Wake with HOST as inode when tasks of the whole host waited. As add(); raises Unsupported."""
        path = f"{pressure}/{resource}"
        try:
            fd = _armed(path, None, f"{share} {stall_usec} {window_usec}")
        except OSError as error:
            raise _unsupported(path, error) from error
        self._watch(fd, HOST)

    def remove(self, inode: int) -> None:
        """Take away every trigger of `inode`; one that has none is no error."""
        with self._lock:
            for fd in [fd for fd, whose in self._inodes.items() if whose == inode]:
                self._drop(fd)

    def close(self) -> None:
        """Take away every trigger and end the thread; a second call does nothing."""
        if self._thread.is_alive():
            os.eventfd_write(self._stop, 1)
            self._thread.join()
            with self._lock:
                for fd in tuple(self._inodes):
                    self._drop(fd)
                self._epoll.close()
                os.close(self._stop)

    def _watch(self, fd: int, inode: int) -> None:
        with self._lock:
            if self._epoll.closed:
                os.close(fd)
                raise Unsupported("no pressure trigger: they are closed")
            self._inodes[fd] = inode
            self._epoll.register(fd, select.EPOLLPRI)

    def _drop(self, fd: int) -> None:
        del self._inodes[fd]
        self._epoll.unregister(fd)
        os.close(fd)

    def _wait(self) -> None:
        """Wait in the thread until close()."""
        while True:
            for fd, event in self._epoll.poll():
                if fd == self._stop:
                    return
                self._tell(fd, event)

    def _tell(self, fd: int, event: int) -> None:
        with self._lock:
            inode = self._inodes.get(fd)
            if inode is not None and event & (select.EPOLLERR | select.EPOLLHUP):  # its cgroup is gone, for ever ready
                self._drop(fd)
                inode = None
        if inode is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._woken, inode)


def _armed(file: str, directory_fd: int | None, trigger: str) -> int:
    """Return the descriptor that is the trigger: it lives until that is closed. Raises OSError."""
    fd = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory_fd)
    try:
        os.write(fd, trigger.encode() + b"\0")
    except OSError:
        os.close(fd)
        raise
    return fd


def _unsupported(what: str, error: OSError) -> Unsupported:
    reason = _REASONS.get(error.errno or 0, error.strerror)
    return Unsupported(f"no pressure trigger on {what}: {reason}")
