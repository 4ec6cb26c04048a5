"""governorctl top as a command: once, for programs, and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest

from governor.bus.messages import Failure
from governor.cli.exits import Exit
from governor.cli.main import main
from governor.kernel.cgroup import CgroupRoot
from tests.cli.fake_governor import HOSTILE
from tests.cli.live_host import FakeLive, Tree, command
from tests.service.recordings import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    found = Tree(tmp_path / "cgroup")
    for number in (1, 2, 3):
        found.make(number)
    monkeypatch.setattr(CgroupRoot, "find", classmethod(lambda cls, _path="": cls(str(found.path))))
    return found


@pytest.fixture
def live(system_bus: str) -> Iterator[FakeLive]:
    service = FakeLive(system_bus)
    service.names = {1: "web-1", 2: "db", 3: HOSTILE}
    yield service
    service.stop()


@pytest.mark.usefixtures("live", "tree")
def test_once_prints_a_table(capsys: Capture) -> None:
    assert main(["top", "--once", "--interval", "100ms"]) == Exit.OK
    head, titles, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("3 containers")
    assert titles.startswith("NAME")
    assert len(rows) == 3
    assert any(line.startswith("web-1") and "MemoryHigh=512M (policy:50-web)" in line for line in rows)
    assert all(line.isprintable() for line in rows)


@pytest.mark.usefixtures("live", "tree")
def test_json_is_for_programs(capsys: Capture) -> None:
    assert main(["top", "--json", "--interval", "100ms", "--sort", "name"]) == Exit.OK
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in rows] == ["db", HOSTILE, "web-1"]
    assert rows[0]["memory_limit_bytes"] == 512 * MIB
    assert rows[0]["limits"] == [{"limit": "MemoryHigh=512M", "source": "policy:50-web"}]


@pytest.mark.usefixtures("system_bus", "tree")
def test_without_a_daemon_the_user_is_told(capsys: Capture) -> None:
    assert main(["top", "--once"]) == Exit.NOT_RUNNING
    assert "systemctl start governor" in capsys.readouterr().err


@pytest.mark.usefixtures("live", "tree")
def test_without_a_terminal_the_user_is_told(capsys: Capture) -> None:
    assert main(["top"]) == Exit.FAILURE
    assert "--once" in capsys.readouterr().err
    assert main(["top", "--interval", "1"]) == Exit.FAILURE
    assert main(["top", "--interval", "never"]) == Exit.USAGE


class Terminal:
    """governorctl top on a pseudo terminal."""

    def __init__(self, tree: Tree, *arguments: str, lines: int = 24, width: int = 80) -> None:
        self._control, terminal = pty.openpty()
        self.size(lines, width)
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("LINES", "COLUMNS", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command(tree, "top", "--interval", "200ms", *arguments),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            start_new_session=True,
        )
        os.close(terminal)
        self.text = ""

    def size(self, lines: int, width: int) -> None:
        fcntl.ioctl(self._control, termios.TIOCSWINSZ, struct.pack("HHHH", lines, width, 0, 0))

    def until(self, wanted: str, seconds: float = 20) -> None:
        """Read until `wanted` has been written since the last call."""
        deadline, seen = time.monotonic() + seconds, ""
        while wanted not in seen:
            assert time.monotonic() < deadline, (wanted, seen[-3000:])
            assert self.process.poll() is None, seen[-3000:]
            if select.select([self._control], [], [], 0.1)[0]:
                seen += self._read()
        self.text += seen

    def _read(self) -> str:
        try:
            return os.read(self._control, 65536).decode(errors="replace")
        except OSError:  # EIO: it has ended
            return ""

    def type(self, keys: str) -> None:
        os.write(self._control, keys.encode())

    def end(self) -> int:
        """Return the exit code, after reading what is left."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._control], [], [], 0.1)[0]:
                self.text += self._read()
        code = self.process.wait(5)
        os.close(self._control)
        return code


@pytest.mark.usefixtures("live")
def test_the_screen_shows_sorts_resizes_and_quits(tree: Tree) -> None:
    terminal = Terminal(tree)
    terminal.until("web-1")
    terminal.until("policy:50-web")
    terminal.type("m")
    terminal.until("memory")
    terminal.type("n")
    terminal.until("name")
    terminal.type("jjk\x1bOB")
    terminal.size(12, 50)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.until("NAME")
    terminal.size(40, 200)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.until("LIMITS")
    terminal.size(3, 10)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    time.sleep(0.5)
    terminal.type("q")
    assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.text  # the terminal was given back
    assert "\x1b[31m\n" not in terminal.text
    assert "Traceback" not in terminal.text


@pytest.mark.usefixtures("live")
def test_ctrl_c_gives_the_terminal_back(tree: Tree) -> None:
    terminal = Terminal(tree)
    terminal.until("web-1")
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.text


def test_containers_come_and_go_and_the_daemon_restarts(live: FakeLive, tree: Tree) -> None:
    terminal = Terminal(tree, "--sort", "name")
    terminal.until("web-1")
    tree.make(4)
    live.names = {1: "web-1", 4: "newcomer"}
    time.sleep(1)
    live.tell("ContainerAdded")
    terminal.until("newcomer")
    live.failures["GetManagedObjects"] = Failure("org.freedesktop.DBus.Error.NoReply", "restarting")
    live.tell("ContainerAdded")
    time.sleep(1.5)
    assert terminal.process.poll() is None
    terminal.type("q")
    assert terminal.end() == 0
