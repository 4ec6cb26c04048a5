"""The host's end of the guest's agent: one TCP connection runs one command (the protocol stands in recipe/agent.py)."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

EXIT: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
STARTED: Final = 3
"""The kinds of frames; STARTED carries the command's process id in the guest."""

HEADER: Final = struct.Struct(">BI")


class Channel:
    """One command in the guest. Closing it before the command has ended kills the command's process group."""

    def __init__(
        self,
        port: int,
        argv: Sequence[str],
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        """Connect to the agent (at most `connect_timeout` seconds) and start the command."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=connect_timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = {"argv": list(argv), "env": dict(env or {}), "stdin": len(stdin)}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        if stdin:
            # Beside the reading: a command may write before it has read all of its input.
            threading.Thread(target=self._feed, args=(stdin,), daemon=True).start()

    def __enter__(self) -> Self:
        """Return the channel itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel."""
        self.close()

    def _feed(self, stdin: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(stdin)

    def frames(self, timeout: float | None) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, data) up to and with the EXIT frame; TimeoutError after `timeout` seconds (None: never)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        kind = STDOUT
        while kind != EXIT:
            kind, size = HEADER.unpack(self._read(HEADER.size, deadline))
            yield kind, self._read(size, deadline)

    def _read(self, size: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the guest's agent closed the connection")
            data += part
        return bytes(data)

    def close(self) -> None:
        """Close the connection, also under a thread that reads from it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
