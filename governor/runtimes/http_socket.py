"""One HTTP request over a unix socket, with an end in time and in size: the other side may belong to anybody.

HTTP/1.0 on purpose: the server closes when it is done, and sends no chunks and no streams. http.client reads the answer
from memory, since its own timeout starts anew with every byte that a slow server lets drip.
"""

from __future__ import annotations

import io
import os
import socket
import stat
import time
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from governor.model.errors import Gone, Unsupported
from governor.runtimes.untrusted import LIMIT_BYTES, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_SEC = 2.0
_OK, _NOT_FOUND = 200, 404


def get_json(
    path: str,
    target: str,
    *,
    owner_uid: int | None = None,
    deadline_sec: float = DEADLINE_SEC,
    limit_bytes: int = LIMIT_BYTES,
) -> Any:
    """Return the JSON that the server at the socket `path` answers to GET `target`, within `deadline_sec` in all.

    `owner_uid`: whose socket it has to be, or it is not asked: a user must not point us at somebody else's. Raises Gone
    on 404, and Unsupported where there is no such socket, or no usable answer in time.
    """
    until = time.monotonic() + deadline_sec
    try:
        with _connected(path, owner_uid, until) as connection:
            connection.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode())
            answer = _read_all(connection, until, limit_bytes)
    except (OSError, ValueError) as error:
        raise Unsupported(f"no answer from {path!r}: {error}") from error
    status, body = _parsed(answer)
    if status == _NOT_FOUND:
        raise Gone(f"{path!r} knows no {target!r}")
    if status != _OK:
        raise Unsupported(f"{path!r} answers {status}")
    return parse_json(body)


@contextmanager
def _connected(path: str, owner_uid: int | None, until: float) -> Iterator[socket.socket]:
    """Connect to the inode that was looked at, not to whatever has its name by then."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISSOCK(status.st_mode) or owner_uid not in (None, status.st_uid):
            raise OSError("not a socket of its user")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_left(until))
            connection.connect(f"/proc/self/fd/{handle}")
            yield connection
    finally:
        os.close(handle)


def _read_all(connection: socket.socket, until: float, limit_bytes: int) -> bytes:
    answer = bytearray()
    while len(answer) <= limit_bytes:
        connection.settimeout(_left(until))
        chunk = connection.recv(65536)
        if not chunk:
            return bytes(answer)
        answer += chunk
    raise OSError(f"more than {limit_bytes} bytes")


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("took too long")
    return left


class _Answer:
    """What HTTPResponse wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parsed(answer: bytes) -> tuple[int, bytes]:
    response = HTTPResponse(_Answer(answer))  # type: ignore[arg-type] # a file is all that it asks of a socket
    try:
        response.begin()
        return response.status, response.read()
    except (HTTPException, ValueError, OSError) as error:
        raise Unsupported(f"not HTTP: {type(error).__name__}") from error
