"""Directories of runtimes, laid out below tmp_path, and a real HTTP server on a unix socket."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governor.runtimes import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Reply = bytes | list[bytes | float]
"""What to answer: bytes, or a script of bytes and pauses in seconds."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("run", "lib", "cgroup"):
        (tmp_path / name).mkdir()
    return Places(run=str(tmp_path / "run"), var_lib=str(tmp_path / "lib"), cgroup=str(tmp_path / "cgroup"))


class Server:
    """Answers one connection after the other with the same reply, and remembers the requests."""

    def __init__(self, path: Path, reply: Reply) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.requests: list[str] = []
        self._reply = reply if isinstance(reply, list) else [reply]
        self._stop = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            self.requests.append(connection.recv(65536).decode())
            for part in self._reply:
                if isinstance(part, bytes):
                    connection.sendall(part)
                else:
                    self._stop.wait(part)
        except OSError:
            return


@pytest.fixture
def serve() -> Iterator[Callable[[Path, Reply], Server]]:
    servers: list[Server] = []

    def start(path: Path, reply: Reply) -> Server:
        servers.append(Server(path, reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def http(body: Any, status: str = "200 OK") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_bundle(places: Places, namespace: str, container_id: str, annotations: dict[str, str]) -> None:
    task = Path(places.run, "containerd/io.containerd.runtime.v2.task", namespace, container_id)
    write_json(task / "config.json", {"ociVersion": "1.1.0", "annotations": annotations})


def make_cgroup(places: Places, path: str) -> Path:
    directory = Path(f"{places.cgroup}{path}")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
