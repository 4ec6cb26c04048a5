"""systemd's native journal protocol, written without libsystemd and without ever waiting.

Format: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. One entry is one datagram of `KEY=value` lines, or `KEY`, a
little-endian 64-bit length and the value where the value has line breaks; an entry above the datagram limit travels as
a sealed memfd. The socket is named in each send rather than connected, so that a restart of journald costs nothing.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def encode(fields: Mapping[str, str]) -> bytes:
    """Return `fields` as one entry of the native protocol; their order is kept, lone surrogates are escaped."""
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    """Return one field, by length where a line break would end it early."""
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode("ascii"), data)
    return b"%s\n%s%s\n" % (name.encode("ascii"), struct.pack("<Q", len(data)), data)


class JournalSocket:
    """A non-blocking sender of entries to journald."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, entry: bytes) -> None:
        """Hand `entry` to journald.

        Raises Gone where journald's queue is full right now (the entry is lost), Unsupported where nobody listens.
        """
        try:
            self._send(entry)
        except BlockingIOError as error:
            raise Gone("the journal's queue is full") from error
        except OSError as error:
            raise Unsupported(f"no journal at {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the socket; what was sent stays sent."""
        self._socket.close()

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            # EMSGSIZE: above net.core.wmem_max; ENOBUFS: the kernel found no memory for one contiguous datagram
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_memfd(entry)

    def _send_memfd(self, entry: bytes) -> None:
        """Send `entry` as a sealed memory file, which journald maps instead of copying."""
        memory = os.memfd_create("governor-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(memory, "wb", closefd=False) as file:
                file.write(entry)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))
            self._socket.sendmsg([], [rights], 0, self._path)
        finally:
            os.close(memory)
