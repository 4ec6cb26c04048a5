"""inotify(7) by ctypes, for the event loop: the standard library has none."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from typing import TYPE_CHECKING

from governor.model.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

CREATED = 0x00000100  # IN_CREATE, sys/inotify.h
DELETED = 0x00000200  # IN_DELETE
MOVED = 0x000000C0  # IN_MOVED_FROM | IN_MOVED_TO
WRITTEN = 0x00000008  # IN_CLOSE_WRITE
CHANGED_MODE = 0x00000004  # IN_ATTRIB
_ONLY_DIRECTORIES = 0x01000000  # IN_ONLYDIR
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK | IN_CLOEXEC have the same values
_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 * 1024

FILES_CHANGED = CREATED | DELETED | MOVED | WRITTEN | CHANGED_MODE


class Watcher:
    """Calls `changed(directory)` from the event loop after something in a watched directory changed."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(_FLAGS)
        if self._fd < 0:
            raise Unsupported(f"inotify: {os.strerror(ctypes.get_errno())}")
        self._changed = changed
        self._directories: dict[int, str] = {}
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def watch(self, directory: str, mask: int = FILES_CHANGED) -> bool:
        """Watch `directory`; return whether it exists. Watching one twice is the same as once."""
        descriptor = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), mask | _ONLY_DIRECTORIES)
        if descriptor < 0:
            return False
        self._directories[descriptor] = directory
        return True

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        for directory in {self._directories.get(descriptor, "") for descriptor in _descriptors(data)}:
            self._changed(directory)


def _descriptors(data: bytes) -> list[int]:
    """Return the watch descriptors of the events in `data`; -1 stands for an overflow of the kernel's queue."""
    found, offset = [], 0
    while offset + _HEADER.size <= len(data):
        descriptor, _mask, _cookie, length = _HEADER.unpack_from(data, offset)
        found.append(descriptor)
        offset += _HEADER.size + length
    return found
