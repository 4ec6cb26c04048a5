"""Read configuration files that only root can have written; OSError becomes PolicyError here."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from governor.model.errors import PolicyError, Position, Problem
from governor.policy.document import MAX_BYTES, shown
from governor.policy.words import quoted

if TYPE_CHECKING:
    from pathlib import Path

_NULL_DEVICE: Final = os.makedev(1, 3)
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def toml_names(directory: Path, uid: int) -> tuple[str, ...]:
    """Return the sorted names of a directory's .toml files, hidden ones left out; () where there is no directory.

    Raises PolicyError where the directory cannot be read, or where somebody else than `uid` could put files there.
    """
    try:
        found = directory.stat()
        names = sorted(file.name for file in directory.iterdir() if file.name.endswith(".toml") and file.name[0] != ".")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise refused(str(directory), f"cannot be read: {error.strerror}") from error
    _require_owner(str(directory), found, uid)
    for name in names:
        if not name.isprintable():
            raise refused(str(directory), f"has a file whose name cannot be shown, {quoted(name)}: rename it")
    return tuple(names)


def read_text(path: Path, uid: int, max_bytes: int = MAX_BYTES) -> str | None:
    """Return a file's text, at most one byte more than `max_bytes` of it; None where it is gone or /dev/null.

    Raises PolicyError where it is no regular file, where somebody else than `uid` could have written it, or where it
    is not UTF-8.
    """
    try:
        # Not blocking: a FIFO of that name would otherwise hold up the daemon until somebody writes to it.
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            content = _content(str(path), descriptor, uid, max_bytes)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refused(str(path), f"cannot be read: {error.strerror}") from error
    return None if content is None else _decoded(str(path), content)


def refused(file: str, message: str) -> PolicyError:
    """Return the error for a file that is wrong as a whole."""
    return PolicyError((Problem(Position(file, 1, 1), message),))


def _content(file: str, descriptor: int, uid: int, max_bytes: int) -> bytes | None:
    found = os.fstat(descriptor)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL_DEVICE:
        return None
    _require_regular(file, found)
    _require_owner(file, found, uid)
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        return stream.read(max_bytes + 1)


def _require_regular(file: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise refused(file, "is not a regular file; only those and links to /dev/null are read")


def _require_owner(file: str, found: os.stat_result, uid: int) -> None:
    """Refuse what somebody else could have written: it would let them set any container's limits."""
    if found.st_uid != uid:
        raise refused(file, f"belongs to uid {found.st_uid}; it must belong to uid {uid} (chown {uid})")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise refused(file, f"can be written by others (mode {mode:04o}); take that away (chmod go-w)")


def _decoded(file: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        start = content.rfind(b"\n", 0, error.start) + 1
        end = content.find(b"\n", error.start)
        line = content[start : end if end >= 0 else len(content)].decode(errors="replace")
        column = len(content[start : error.start].decode(errors="replace")) + 1
        position = Position(file, content.count(b"\n", 0, error.start) + 1, column)
        problem = Problem(position, "is not UTF-8 text", shown(line, column))
        raise PolicyError((problem,)) from error
