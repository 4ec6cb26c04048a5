"""Commands in the guest: one to wait for, or one that is left running."""

import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.vm.channel import EXIT, STARTED, STDERR, STDOUT, Channel

TAIL: Final = 4000
"""How many characters of each output the text of an error has."""

SIGNAL_SECONDS: Final = 30.0
"""How long sending a signal may take."""


class GuestError(Exception):
    """A command failed or the guest does not answer; the text shows the command, its code and what it printed."""


@dataclass(frozen=True)
class Completed:
    """What a command printed, and its exit code (128 + n if signal n ended it)."""

    stdout: str
    stderr: str
    code: int


def failure(what: str, argv: Sequence[str], stdout: str, stderr: str) -> GuestError:
    """Return the error for a command that did not do what it should, with the ends of its outputs."""
    outputs = "".join(
        f"\n--- {name}\n{text[-TAIL:]}" for name, text in (("stdout", stdout), ("stderr", stderr)) if text
    )
    return GuestError(f"{what}: {shlex.join(argv)}{outputs or ' (no output)'}")


def run(
    port: int, argv: Sequence[str], stdin: bytes, env: Mapping[str, str] | None, timeout: float
) -> tuple[dict[int, bytearray], int | None]:
    """Run a command; return its outputs by kind of frame, and the exit code or None after `timeout` seconds."""
    outputs = {STARTED: bytearray(), STDOUT: bytearray(), STDERR: bytearray(), EXIT: bytearray()}
    try:
        with Channel(port, argv, stdin, env) as channel:
            for kind, data in channel.frames(timeout):
                outputs[kind] += data
    except TimeoutError:
        return outputs, None
    return outputs, int(outputs[EXIT])


class Background:
    """A command that was left running in the guest. It is killed when the test process ends."""

    def __init__(self, port: int, script: str, env: Mapping[str, str] | None) -> None:
        """Start the script; use `Guest.spawn`."""
        self._port = port
        self._argv = ("sh", "-c", script)
        self._outputs = {STDOUT: bytearray(), STDERR: bytearray()}
        self._all = bytearray()
        self._code: int | None = None
        self._channel = Channel(port, self._argv, env=env)
        self._frames = self._channel.frames(None)
        kind, data = next(self._frames)
        if kind != STARTED:
            raise failure("not started", self._argv, "", data.decode(errors="replace"))
        self.pid = int(data)
        """The process id in the guest, which is also the process group's."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for kind, data in self._frames:
                if kind == EXIT:
                    self._code = int(data)
                else:
                    self._outputs[kind] += data
                    self._all += data
        except OSError:
            return  # the channel was closed, or the guest is gone
        finally:
            self._channel.close()

    def output(self) -> str:
        """Return what the command has printed so far, stdout and stderr in the order in which they came."""
        return self._all.decode(errors="replace")

    def running(self) -> bool:
        """Tell whether the command has not ended yet."""
        return self._reader.is_alive()

    def wait(self, timeout: float = 120.0) -> Completed:
        """Wait for the command to end by itself, at most `timeout` seconds."""
        self._reader.join(timeout)
        stdout, stderr = (bytes(self._outputs[kind]).decode(errors="replace") for kind in (STDOUT, STDERR))
        if self._reader.is_alive():
            raise failure(f"still running after {timeout:g} s", self._argv, stdout, stderr)
        if self._code is None:
            raise failure("lost with the guest's connection", self._argv, stdout, stderr)
        return Completed(stdout, stderr, self._code)

    def stop(self, signal: str = "TERM", timeout: float = 30.0) -> Completed:
        """Send a signal to the command's process group and wait for the end; kill it after `timeout` seconds."""
        self.signal(signal)
        self._reader.join(timeout)
        if self._reader.is_alive():
            self.signal("KILL")
        return self.wait(timeout)

    def forget(self) -> None:
        """Close the connection, which kills the command, and do not ask how it ended."""
        self._channel.close()
        self._reader.join()

    def signal(self, signal: str) -> None:
        """Send a signal to the command's process group, if it is still there."""
        run(self._port, ("kill", f"-{signal}", "--", f"-{self.pid}"), b"", None, SIGNAL_SECONDS)
