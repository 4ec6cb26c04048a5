"""The cgroup v2 tree: opened cgroups whose identity is their inode, never their path.

A cgroup's path comes back when a container is made again under its old name; its inode (the kernel's 64-bit cgroup id,
Documentation/admin-guide/cgroup-v2.rst) does not. So a cgroup is held by a descriptor of its directory and every file
is opened beneath that descriptor.

Names are any bytes but "/" and NUL, chosen by whoever made the cgroup: they are str with surrogateescape here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

CGROUP2_SUPER_MAGIC = 0x63677270
"""linux/magic.h"""

DEFAULT_PATH = "/sys/fs/cgroup"
PATH_MAX = 4096

READ_LIMIT_BYTES = 4 * 1024 * 1024
"""cgroup.procs of 500,000 processes; nothing that the kernel shows is larger."""

_CHUNK_BYTES = 16 * 1024
_SURELY_WHOLE_BYTES = 2048
"""A seq_file ends a read early only where the next record did not fit into its page: less than this is all of it."""

_LEAF_LINKS = 2
"""A directory without subdirectories: kernfs, ext4 and tmpfs count 2 + subdirectories; others never show 2."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENODEV, errno.ENOENT)


class Cgroup:
    """One opened cgroup. `path` (leading slash) is where it was found; `inode` is what it is."""

    def __init__(self, path: str, directory_fd: int) -> None:
        self.path = path
        self.inode = os.fstat(directory_fd).st_ino
        self._fd = directory_fd
        self._files: dict[str, int] = {}
        self._closing = threading.Lock()

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r}, inode={self.inode})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor of the directory, as perf_event_open and bpf want it; -1 once closed."""
        return self._fd

    def duplicate(self) -> Cgroup:
        """Return another handle on the same cgroup, which its user closes. Raises Gone once this one is closed.

        A worker thread must not share descriptors that the event loop may close: their numbers come back as something
        else.
        """
        try:
            return Cgroup(self.path, os.dup(self._fd))
        except OSError as error:
            raise self._gone() from error

    def exists(self) -> bool:
        """Return whether the cgroup is still there: every cgroup has a cgroup.procs for as long as it lives."""
        try:
            os.stat("cgroup.procs", dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def read(self, file: str) -> str | None:
        """Return what `file` says, or None where this cgroup has no such file. Raises Gone."""
        data = self.read_bytes(file)
        return None if data is None else os.fsdecode(data)

    def read_bytes(self, file: str) -> bytes | None:
        """Return what `file` says, or None where this cgroup has no such file (its controller is off). Raises Gone.

        The descriptor stays open for the next read, which then costs about 3 µs. Where the kernel refuses to show a
        file (cgroup.procs of a threaded cgroup: EOPNOTSUPP) there is nothing to read either: None.
        """
        fd = self._files.get(file)
        if fd is None:
            fd = self._open(file)
            if fd is None:
                return None
            self._files[file] = fd
        try:
            data = os.pread(fd, _CHUNK_BYTES, 0)
            return data if len(data) < _SURELY_WHOLE_BYTES else _rest(fd, data)
        except OSError as error:
            self._unreadable(file, error)
            return None

    def write(self, file: str, text: str) -> None:
        """Write `text` to `file` in one write, as the kernel wants it. Raises Gone or ActuationError.

        May be called from a worker thread, since some writes block; all else belongs to the thread that closes.
        """
        try:
            with self._closing:  # or the descriptor's number might belong to another cgroup by now
                fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_TRUNC, dir_fd=self._fd)
            try:
                os.write(fd, os.fsencode(text))
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in _GONE and not self.exists():
                raise self._gone() from error
            raise ActuationError(f"cannot write {text!r} to {self.path!r} {file}: {error.strerror}") from error

    def children(self) -> tuple[str, ...]:
        """Return the names of the cgroups directly below this one, sorted. Raises Gone."""
        try:
            if os.fstat(self._fd).st_nlink == _LEAF_LINKS and self.exists():
                return ()
            with os.scandir(self._fd) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            raise self._gone() from error
        if not names and not self.exists():
            raise self._gone()
        return tuple(names)

    def walk(self) -> Iterator[Cgroup]:
        """Yield every cgroup below this one, parents first; each is closed when the next is asked for. Raises Gone.

        A container may nest cgroups without end: what lies deeper than PATH_MAX is out of everybody's reach.
        """
        pending: list[tuple[str, ...]] = [(name,) for name in self.children()]
        while pending:
            names = pending.pop()
            with suppress(Gone), self._descendant(names) as cgroup:
                yield cgroup
                if len(cgroup.path) < PATH_MAX:
                    pending += [(*names, name) for name in cgroup.children()]

    def child(self, name: str) -> Cgroup:
        """Return the opened child `name`, which the caller closes. Raises Gone."""
        return self._descendant((name,))

    def processes(self) -> tuple[int, ...]:
        """Return the pids in this cgroup and below it, parents first. Raises Gone."""
        pids = _pids(self.read_bytes("cgroup.procs"))
        for descendant in self.walk():
            with suppress(Gone):
                pids += _pids(descendant.read_bytes("cgroup.procs"))
        return pids

    def populated(self) -> bool:
        """Return whether any process is in this cgroup or below it (cgroup.events). Raises Gone."""
        events = self.read_bytes("cgroup.events")
        if events is None:  # only the root has none, and the root is never empty
            return True
        return b"populated 1" in events.splitlines()

    def close(self) -> None:
        """Close every descriptor; a second call does nothing."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
        with self._closing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _descendant(self, names: tuple[str, ...]) -> Cgroup:
        path = "/".join((self.path.rstrip("/"), *names))
        try:
            return Cgroup(path, _open_below(self._fd, names))
        except OSError as error:
            raise Gone(f"no cgroup {path!r}: {error.strerror}") from error

    def _open(self, file: str) -> int | None:
        try:
            return os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._fd)
        except OSError as error:
            self._unreadable(file, error)
            return None

    def _unreadable(self, file: str, error: OSError) -> None:
        """Return None if only the file is missing; raise Gone if the whole cgroup is."""
        stale = self._files.pop(file, None)
        if stale is not None:
            os.close(stale)
        if not self.exists():
            raise self._gone() from error

    def _gone(self) -> Gone:
        return Gone(f"cgroup {self.path!r} (inode {self.inode}) is gone")


class CgroupRoot:
    """The root of the hierarchy. `path` may be any directory, so that tests can lay out a tree of their own."""

    def __init__(self, path: str = DEFAULT_PATH) -> None:
        self.path = os.fspath(path).rstrip("/") or "/"
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unsupported(f"no cgroup hierarchy at {self.path}: {error.strerror}") from error

    @classmethod
    def find(cls, path: str = DEFAULT_PATH) -> Self:
        """Return the root of cgroup v2: `path` itself or, on hybrid hosts, `path`/unified. Raises Unsupported."""
        for candidate in (path, f"{path}/unified"):
            if _is_cgroup2(candidate):
                return cls(candidate)
        raise Unsupported(f"no cgroup v2 at {path}: boot with systemd.unified_cgroup_hierarchy=1")

    def open(self, path: str) -> Cgroup:
        """Return the opened cgroup at `path` (as in /proc/PID/cgroup: "/a/b"), which the caller closes. Raises Gone."""
        names = [name for name in path.split("/") if name]
        if ".." in names or "\0" in path:  # a cgroup beyond our cgroup namespace
            raise Gone(f"cgroup {path!r} is not below this root")
        try:
            return Cgroup(path if path.startswith("/") else f"/{path}", _open_below(self._fd, names))
        except OSError as error:
            raise Gone(f"no cgroup {path!r}: {error.strerror}") from error

    def tree(self) -> Iterator[tuple[str, int]]:
        """Yield (path, inode) of every cgroup below the root, parents first; what ends meanwhile is left out."""
        pending = [""]
        while pending:
            path = pending.pop()
            for name, inode, leaf in _subdirectories(f"{self.path}{path}"):
                yield f"{path}/{name}", inode
                if not leaf:
                    pending.append(f"{path}/{name}")

    def close(self) -> None:
        """Close the root; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_below(directory_fd: int, names: Sequence[str]) -> int:
    """Open one directory after the other, so that no path length and no symbolic link gets in the way."""
    fd = os.open(".", _DIRECTORY, dir_fd=directory_fd)
    for name in names:
        try:
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _subdirectories(path: str) -> list[tuple[str, int, bool]]:
    """Return (name, inode, whether it has none itself) of the directories in `path`; none where it is gone."""
    found = []
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.name, status.st_ino, status.st_nlink == _LEAF_LINKS))
    return found


def _rest(fd: int, start: bytes) -> bytes:
    chunks = [start]
    size = len(start)
    while size < READ_LIMIT_BYTES and (chunk := os.pread(fd, _CHUNK_BYTES, size)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)[:READ_LIMIT_BYTES]


def _pids(data: bytes | None) -> tuple[int, ...]:
    return tuple(int(line) for line in (data or b"").split() if line.isdigit())


def _is_cgroup2(path: str) -> bool:
    """Return whether `path` is cgroup2 by its magic: os.statvfs leaves f_type out, so statfs(2) is called."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs: f_type is its first long
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return int(ctypes.c_long.from_buffer(buffer).value) == CGROUP2_SUPER_MAGIC
