"""Statistics files of one directory, held open: a read is one pread(2) a file and forgets nothing but what is gone.

Kernfs and procfs make a file's text anew for every read from its start, and all files that are read here are single
records (seq_file with single_open): one read that does not fill the buffer has all of it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Self

from governor.model.errors import Gone, Unsupported
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from governor.kernel.cgroup import Cgroup

BUFFERS_BYTES: Final = (479, 4000, 64 * 1024, 4 * 1024 * 1024)
"""What is tried for a file, one after the other, until its text leaves some of it free. Most files need but the first,
which Python's own allocator has (512 bytes with the head of a bytes object) and which saves a fifth of a read. The last
is the most that is ever read: /proc/stat of 4,096 CPUs has a quarter of it."""
RETRY_USEC: Final = 5 * USEC_PER_SEC
"""How long a missing file is taken for missing: controllers are switched on later, and a failed open costs 5 µs."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_REFUSED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Our own lack, not the file's: not to be mistaken for a controller that is off."""


class Files:
    """Open files below one directory. Belongs to one thread at a time, which may change."""

    def __init__(self, directory_fd: int, name: str, alive: Callable[[], bool], release: Callable[[], None]) -> None:
        """Read below `directory_fd`, for as long as `alive` says; `release` closes the directory."""
        self._directory_fd = directory_fd
        self._name = name
        self._alive = alive
        self._release = release
        self._descriptors: dict[str, tuple[int, int]] = {}
        """File → descriptor, and the bytes of buffer that its text has fitted into so far."""
        self._missing_until: dict[str, int] = {}

    @classmethod
    def of(cls, cgroup: Cgroup) -> Self:
        """Return the files of `cgroup`, a handle of its own (Cgroup.duplicate) that is closed with them."""
        return cls(cgroup.fileno(), f"cgroup {cgroup.path!r} (inode {cgroup.inode})", cgroup.exists, cgroup.close)

    @classmethod
    def below(cls, path: str) -> Self:
        """Return the files below the directory `path` (/proc), which never goes. Raises Unsupported."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unsupported(f"cannot read {path}: {error.strerror}") from error
        return cls(fd, path, lambda: True, lambda: os.close(fd))

    def __len__(self) -> int:
        """Return how many files are open."""
        return len(self._descriptors)

    def prepare(self, names: Iterable[str], now_usec: int) -> None:
        """Open what is not open yet of the files `names`: the costly part of a first read. Raises Gone."""
        for name in names:
            if name not in self._descriptors:
                self._open(name, now_usec)

    def read(self, names: Sequence[str], now_usec: int) -> list[bytes | None]:
        """Return what each of the files `names` says; None where there is no such file (its controller is off).

        Raises Gone where the directory itself is gone. A missing file is looked for again after RETRY_USEC of
        `now_usec`, which is CLOCK_MONOTONIC.
        """
        descriptors, pread = self._descriptors, os.pread
        found: list[bytes | None] = []
        for name in names:
            known = descriptors.get(name) or self._open(name, now_usec)
            if known is None:
                found.append(None)
                continue
            fd, size = known
            try:
                text = pread(fd, size, 0)
                found.append(text if len(text) < size else self._read_whole(name, fd))
            except OSError as error:
                self._lose(name, error)
                found.append(None)
        return found

    def close(self) -> None:
        """Close every file and the directory; a second call does nothing."""
        for fd, _ in self._descriptors.values():
            os.close(fd)
        self._descriptors.clear()
        if self._directory_fd >= 0:
            self._directory_fd = -1
            self._release()

    def _open(self, name: str, now_usec: int) -> tuple[int, int] | None:
        if self._missing_until.get(name, 0) > now_usec:
            return None
        try:
            fd = os.open(name, _READ, dir_fd=self._directory_fd)
        except OSError as error:
            self._require_life(error)
            self._missing_until[name] = now_usec + RETRY_USEC
            return None
        self._missing_until.pop(name, None)
        self._descriptors[name] = known = (fd, BUFFERS_BYTES[0])
        return known

    def _read_whole(self, name: str, fd: int) -> bytes:
        """Return a text that is longer than its buffer, read anew so that it is of one moment. Raises OSError."""
        text = b""
        for size in BUFFERS_BYTES[1:]:
            text = os.pread(fd, size, 0)
            if len(text) < size:
                self._descriptors[name] = (fd, size)
                break
        return text

    def _lose(self, name: str, error: OSError) -> None:
        """Forget a file that cannot be read any more: its controller was switched off, or its cgroup is gone."""
        fd, _ = self._descriptors.pop(name)
        os.close(fd)
        self._require_life(error)

    def _require_life(self, error: OSError) -> None:
        if error.errno in _REFUSED:
            raise Unsupported(f"cannot open what {self._name} says: {error.strerror} (LimitNOFILE=)") from error
        if self._directory_fd < 0 or not self._alive():
            raise Gone(f"{self._name} is gone") from error
