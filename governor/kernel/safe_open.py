"""Reading files below a directory that somebody hostile controls: a container's root, a user's runtime directory.

openat2(2) keeps every symbolic link inside the root and follows no magic link of /proc. A file is first opened with
O_PATH, which touches nothing, and opened for reading only if it is a regular file: opening a device or a FIFO may
already block or do something.

A regular file may still lie on a FUSE file system of the container's own and never answer: call from a worker thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437
"""The same number on every architecture (asm-generic/unistd.h)."""

_ATTEMPTS = 16
"""EAGAIN means that a rename or mount raced with the walk; a container can go on like that for ever."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ESRCH)

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """struct open_how, linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def read_beneath(root_fd: int, path: str, limit_bytes: int, *, one_mount: bool = False) -> bytes:
    """Return the contents of the regular file `path`, resolved as if `root_fd` were the root directory.

    `one_mount` refuses to cross mount points. Raises Gone where there is no such file, Unsupported where it is not a
    regular file, larger than `limit_bytes`, or not to be read.
    """
    with _opened(root_fd, path, os.O_PATH, one_mount=one_mount) as handle:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Unsupported(f"{path!r} is not a regular file")
        return _read_capped(handle, path, limit_bytes)


def entries_beneath(
    root_fd: int, path: str, limit: int, *, one_mount: bool = False
) -> list[tuple[str, os.stat_result]]:
    """Return (name, its own status, links not followed) of at most `limit` entries of the directory `path`.

    Raises Gone where there is no such directory, Unsupported where it is not to be read.
    """
    found: list[tuple[str, os.stat_result]] = []
    flags = os.O_RDONLY | os.O_DIRECTORY
    with _opened(root_fd, path, flags, one_mount=one_mount) as directory, os.scandir(directory) as entries:
        for entry in entries:
            if len(found) >= limit:
                break
            with suppress(OSError):
                found.append((entry.name, os.stat(entry.name, dir_fd=directory, follow_symlinks=False)))
    return found


@contextmanager
def _opened(root_fd: int, path: str, flags: int, *, one_mount: bool) -> Iterator[int]:
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (RESOLVE_NO_XDEV if one_mount else 0)
    fd = _openat2(root_fd, path, flags | os.O_CLOEXEC, resolve)
    try:
        yield fd
    except OSError as error:
        raise _translated(path, error) from error
    finally:
        os.close(fd)


def _openat2(root_fd: int, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags, 0, resolve)
    name = os.fsencode(path)
    if b"\0" in name:
        raise Gone(f"no file can be called {path!r}")
    for _ in range(_ATTEMPTS):
        fd = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root_fd), name, ctypes.byref(how), ctypes.c_size_t(24)
        )
        if fd >= 0:
            return int(fd)
        code = ctypes.get_errno()
        if code != errno.EAGAIN:
            break
    raise _translated(path, OSError(code, os.strerror(code)))


def _read_capped(handle: int, path: str, limit_bytes: int) -> bytes:
    # the descriptor's own magic link leads to this very inode, whatever `path` has become
    fd = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(fd, "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise Unsupported(f"{path!r} is larger than {limit_bytes} bytes")
    return data


def _translated(path: str, error: OSError) -> Gone | Unsupported:
    if error.errno in _ABSENT:
        return Gone(f"{path!r} is not there: {error.strerror}")
    return Unsupported(f"{path!r} is not to be read: {error.strerror}")
