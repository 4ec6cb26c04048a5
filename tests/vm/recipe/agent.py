#!/usr/bin/python3
"""The guest's end of guest.py: runs commands that arrive over TCP, one connection a command.

Request: one line of JSON {"argv": [...], "env": {...}, "cwd": "...", "stdin": <bytes that follow>}, then those bytes.
Reply: frames of a type (1 byte), a length (4 bytes, big endian) and data; type 3 is the command's process id as text
and comes first, 1 is stdout, 2 is stderr, 0 is the exit code as text and the last one (128 + n for signal n, 127 if the
command could not be started). If the client goes away, the command and its process group are killed.

Standard library only and few imports: under emulation each one costs.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import threading
from typing import IO

PORT = 7000
CHUNK = 1 << 16
EXIT, STDOUT, STDERR, STARTED = 0, 1, 2, 3
NOT_FOUND = 127
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}


def send(client: socket.socket, kind: int, data: bytes) -> None:
    """Send one frame."""
    client.sendall(struct.pack(">BI", kind, len(data)) + data)


def feed(source: IO[bytes], sink: IO[bytes], size: int) -> None:
    """Copy `size` bytes from the client to the command's stdin, then close it."""
    with contextlib.suppress(BrokenPipeError, ConnectionError), sink:
        while size > 0:
            data = source.read(min(size, CHUNK))
            if not data:
                return
            sink.write(data)
            size -= len(data)


def relay(client: socket.socket, command: "subprocess.Popen[bytes]") -> None:
    """Send the command's output until both pipes are closed; kill the command if the client goes away."""
    assert command.stdout is not None
    assert command.stderr is not None
    selector = selectors.DefaultSelector()
    selector.register(command.stdout, selectors.EVENT_READ, STDOUT)
    selector.register(command.stderr, selectors.EVENT_READ, STDERR)
    while selector.get_map():
        for key, _ in selector.select():
            data = os.read(key.fd, CHUNK)
            if data:
                send(client, key.data, data)
            else:
                selector.unregister(key.fileobj)


def watch(client: socket.socket, command: "subprocess.Popen[bytes]") -> None:
    """Wait for the client to close its connection; if the command still runs then, kill its process group."""
    with contextlib.suppress(OSError):
        while client.recv(CHUNK):
            pass
    # What an ended command has left running in the background stays.
    if command.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)


def serve(client: socket.socket) -> None:
    """Run one client's command."""
    reader = client.makefile("rb")
    request = json.loads(reader.readline())
    size = request.get("stdin", 0)
    try:
        command = subprocess.Popen(
            request["argv"],
            stdin=subprocess.PIPE if size else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=request.get("cwd") or "/root",
            env=ENVIRONMENT | (request.get("env") or {}),
            start_new_session=True,
        )
    except OSError as error:
        send(client, STDERR, f"guest-agent: {error}\n".encode())
        send(client, EXIT, str(NOT_FOUND).encode())
        return

    send(client, STARTED, str(command.pid).encode())

    def receive() -> None:
        if command.stdin is not None:
            feed(reader, command.stdin, size)
        watch(client, command)

    threading.Thread(target=receive, daemon=True).start()
    relay(client, command)
    code = command.wait()
    send(client, EXIT, str(code if code >= 0 else 128 - code).encode())


def handle(client: socket.socket) -> None:
    """Serve one client in a process of its own, which the OOM killer may choose: only the listener is spared."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 (pathlib is slow to import)
        file.write("0")
    with contextlib.suppress(ConnectionError):
        serve(client)


def main() -> None:
    """Accept connections for ever."""
    listener = socket.create_server(("0.0.0.0", PORT), backlog=64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                handle(client)
            finally:
                os._exit(0)
        client.close()


if __name__ == "__main__":
    main()
