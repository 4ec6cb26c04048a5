"""The virtual machine that tests run in: start it, run commands in it, take it back to where it began."""

import io
import json
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.vm import boot, command, image, qemu
from tests.vm.channel import STDERR, STDOUT
from tests.vm.command import Background, Completed, GuestError, failure
from tests.vm.qemu import Machine

__all__ = ["Background", "Completed", "CriContainer", "Guest", "GuestError"]

BOOT_SECONDS: Final = 300.0
IGNORED: Final = frozenset({".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
"""Directories that `push` leaves out."""

CRI: Final = Path(__file__).parent / "tools" / "cri.py"

# $1 is the script, $2 the seconds between two tries, $3 the seconds in all. One command in the guest instead of many.
POLL: Final = """
read -r up _ < /proc/uptime; end=$((${up%.*} + $3 + 1))
until out=$( (eval "$1") 2> /tmp/.wait-$$ ); do
    read -r up _ < /proc/uptime
    if [ "${up%.*}" -ge "$end" ]; then printf %s "$out"; cat /tmp/.wait-$$ >&2; rm -f /tmp/.wait-$$; exit 124; fi
    sleep "$2"
done
rm -f /tmp/.wait-$$; printf %s "$out"
"""


@dataclass(frozen=True)
class CriContainer:
    """A pod with one container: the ids of its sandbox and of the container (64 hex digits), and the pod's uid."""

    sandbox: str
    container: str
    uid: str


class Guest:
    """A running guest. Commands run as root with a bare environment in /root."""

    def __init__(self, machine: Machine, suite: str, *, snapshot: bool, close: Callable[[], None]) -> None:
        """Use `Guest.start` or `Guest.attach`."""
        self._machine = machine
        self._close = close
        self._snapshot = snapshot
        self._background: list[Background] = []
        self.suite = suite

    @classmethod
    def start(cls, suite: str = "trixie", name: str = "default", *, snapshot: bool = True) -> "Guest":
        """Start a guest that dies with this process.

        The image and the snapshot are made if this machine has none (minutes, once). With `snapshot` the guest is up in
        seconds with docker and containerd running and the image `bb:1` (podman, containerd: `localhost/bb:1`) in every
        runtime; without it, it boots cold and has none of that, and cannot be reset. `name` only marks its files.
        """
        made = image.build(suite)
        source = boot.snapshot(made, lambda machine: _warm(machine, suite)) if snapshot else None
        place = boot.Workplace(f"{suite}-{name}")
        try:
            machine = boot.start(made, place.directory, source)
        except BaseException:
            place.close()
            raise
        guest = cls(machine, suite, snapshot=snapshot, close=place.close)
        guest._started()
        return guest

    @classmethod
    def detach(cls, suite: str = "trixie", name: str = "default") -> "Guest":
        """Start a guest that stays when this process ends, for `attach`; `stop` ends it."""
        made = image.build(suite)
        source = boot.snapshot(made, lambda machine: _warm(machine, suite))
        directory = boot.detached_directory(suite, name)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        machine = boot.start(made, directory, source, detached=True)
        guest = cls(machine, suite, snapshot=True, close=lambda: shutil.rmtree(directory, ignore_errors=True))
        guest._started()
        return guest

    @classmethod
    def attach(cls, suite: str = "trixie", name: str = "default") -> "Guest":
        """Return the guest that `detach` left running; QemuError if there is none."""
        directory = boot.detached_directory(suite, name)
        machine = Machine.attach(directory)
        return cls(machine, suite, snapshot=True, close=lambda: shutil.rmtree(directory, ignore_errors=True))

    def __enter__(self) -> Self:
        """Return the guest itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the guest."""
        self.stop()

    @property
    def port(self) -> int:
        """The port on the host's loopback that leads to the agent."""
        return self._machine.port

    @property
    def console(self) -> Path:
        """The file with what the kernel and systemd wrote to the console."""
        return self._machine.directory / "console"

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 120.0,
        check: bool = True,
    ) -> Completed:
        """Run a command and return what it printed; GuestError after `timeout` seconds, or if it fails and `check`.

        It has ended when both of its outputs are closed: what it leaves in the background has to redirect them.
        """
        outputs, code = self._run(argv, stdin, env, timeout)
        stdout, stderr = (bytes(outputs[kind]).decode(errors="replace") for kind in (STDOUT, STDERR))
        if code is None:
            raise failure(f"not done after {timeout:g} s", argv, stdout, stderr)
        if check and code != 0:
            raise failure(f"exit code {code}", argv, stdout, stderr)
        return Completed(stdout, stderr, code)

    def _run(
        self, argv: Sequence[str], stdin: bytes, env: Mapping[str, str] | None, timeout: float
    ) -> tuple[dict[int, bytearray], int | None]:
        """Run a command; return its outputs as bytes, and the exit code or None if time ran out."""
        try:
            return command.run(self.port, argv, stdin, env, timeout)
        except ConnectionError as error:
            raise GuestError(f"{error} during: {shlex.join(argv)}\n{self._machine.log()}") from error

    def sh(
        self,
        script: str,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 120.0,
        check: bool = True,
    ) -> Completed:
        """Run a shell script, with `arguments` as $1 and so on, like `run`."""
        return self.run("sh", "-c", script, "sh", *arguments, stdin=stdin, env=env, timeout=timeout, check=check)

    def spawn(self, script: str, env: Mapping[str, str] | None = None) -> Background:
        """Start a shell script and leave it running."""
        self._background.append(Background(self.port, script, env))
        return self._background[-1]

    def wait_until(self, script: str, timeout: float = 60.0, interval: float = 0.25) -> str:
        """Run a shell script in the guest every `interval` seconds until it succeeds; return its last stdout, stripped.

        GuestError with the last output after `timeout` seconds.
        """
        argv = ("sh", "-c", POLL, "wait_until", script, f"{interval:g}", str(round(timeout)))
        done = self.run(*argv, timeout=timeout + 60.0, check=False)
        if done.code != 0:
            raise failure(f"not true within {timeout:g} s", ("sh", "-c", script), done.stdout, done.stderr)
        return done.stdout.strip()

    def push(self, source: Path, destination: str) -> None:
        """Copy a file or a directory to the guest, where `destination` is the path of the copy.

        Modes are kept, the owner is root, parents are made. Into a directory that exists the content is merged.
        """
        target = Path(destination)
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            archive.add(source, arcname="." if source.is_dir() else target.name, filter=_pushed)
        directory = str(target if source.is_dir() else target.parent)
        script = 'mkdir -p "$1" && tar -C "$1" --no-same-owner -xf -'
        self.sh(script, directory, stdin=data.getvalue(), timeout=300.0)

    def pull(self, source: str, destination: Path) -> None:
        """Copy a file or a directory from the guest, where `destination` is the path of the copy on the host."""
        if self.run("test", "-d", source, check=False).code == 0:
            archive = self._bytes("tar", "-C", source, "-cf", "-", ".")
            destination.mkdir(parents=True, exist_ok=True)
            subprocess.run(["tar", "-C", str(destination), "--no-same-owner", "-xf", "-"], input=archive, check=True)
        else:
            destination.parent.mkdir(parents=True, exist_ok=True)
            destination.write_bytes(self._bytes("cat", source))

    def _bytes(self, *argv: str) -> bytes:
        """Run a command and return its stdout undecoded."""
        outputs, code = self._run(argv, b"", None, 300.0)
        if code != 0:
            raise failure(f"exit code {code}", argv, "", outputs[STDERR].decode(errors="replace"))
        return bytes(outputs[STDOUT])

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return self.run("cat", path).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Make a new file, with its parents; an old one is replaced. (Files in /sys and /proc want `sh` and echo.)"""
        self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path, stdin=text.encode())

    def exists(self, path: str) -> bool:
        """Tell whether a path leads to something."""
        return self.run("test", "-e", path, check=False).code == 0

    def cri(
        self,
        name: str = "demo",
        command: Sequence[str] = ("/bin/sleep", "100000"),
        *,
        namespace: str = "default",
        qos: str = "burstable",
        labels: Mapping[str, str] | None = None,
        cpu_quota: int = 0,
        memory: int = 0,
    ) -> CriContainer:
        """Start a pod with one container, called `main`, through containerd's CRI and return their ids.

        `qos` is burstable, besteffort or guaranteed; `cpu_quota` is in µs of each 100 ms and `memory` in bytes, 0 for
        no limit.
        """
        options = ["--name", name, "--namespace", namespace, "--qos", qos]
        options += ["--cpu-quota", str(cpu_quota), "--memory", str(memory)]
        for key, value in (labels or {}).items():
            options += ["--label", f"{key}={value}"]
        done = self.run("python3", "-", *options, "--", *command, stdin=CRI.read_bytes(), timeout=180.0)
        return CriContainer(**json.loads(done.stdout))

    def reset(self, snapshot: str = qemu.SNAPSHOT) -> None:
        """Take the guest back to a snapshot: memory, processes, both disks. Commands in the background are lost.

        `snapshot` is the name of one made with `save`; else it is the one that the guest began with.
        """
        if not self._snapshot:
            raise GuestError("a guest that booted cold has no snapshot to go back to")
        self._forget_background()
        complaint = self._machine.monitor(f"loadvm {snapshot}")
        if complaint:
            raise GuestError(complaint)
        self._started()

    def save(self, snapshot: str) -> None:
        """Keep the guest as it is now under a name, for `reset`; it lasts as long as the guest."""
        complaint = self._machine.monitor(f"savevm {snapshot}")
        if complaint:
            raise GuestError(complaint)

    def hold_scratch(self, bytes_a_second: int) -> None:
        """Let /dev/vdb move no more than this, as a disk would: it is the host's memory else. 0 lifts that."""
        complaint = self._machine.monitor(f"block_set_io_throttle disk1 {bytes_a_second} 0 0 0 0 0")
        if complaint:
            raise GuestError(complaint)

    def stop(self) -> None:
        """End the guest and remove its files."""
        self._forget_background()
        self._machine.stop()
        self._close()

    def _forget_background(self) -> None:
        for left in self._background:
            left.forget()
        self._background.clear()

    def _started(self) -> None:
        """Wait until the agent answers and systemd has booted, and set the clock, which stood still in the snapshot."""
        try:
            self._wait_for_agent()
            if not self._snapshot:
                self.run("systemctl", "is-system-running", "--wait", timeout=BOOT_SECONDS, check=False)
        except BaseException:
            self.stop()
            raise

    def _wait_for_agent(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._answers():
            if not self._machine.running() or time.monotonic() > deadline:
                raise GuestError(f"the guest does not answer\n{self._machine.log()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return self.run("date", "--set", f"@{time.time():.3f}", timeout=5.0).code == 0
        except GuestError:
            return False


def _pushed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave caches and git's own files out of what is pushed."""
    return None if IGNORED & set(Path(member.name).parts) else member


def _warm(machine: Machine, suite: str) -> None:
    """Bring a machine that boots cold to where its snapshot is taken."""
    guest = Guest(machine, suite, snapshot=False, close=lambda: None)
    guest._started()
    guest.run("sh", "-s", stdin=boot.WARM.read_bytes(), timeout=600.0)
