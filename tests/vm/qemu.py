"""One QEMU process: its command line, its disks, and what is said to it over QMP."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.vm.image import Image, install_host_tools

SNAPSHOT: Final = "booted"
"""The name of the snapshot inside the disk of a machine that starts from one."""

DISKS: Final = ("root.qcow2", "scratch.qcow2")
SCRATCH_SIZE: Final = 2 << 30
"""Size of /dev/vdb in bytes."""

MEMORY_MIB: Final = 4096
ANSWER_SECONDS: Final = 60.0
"""How long QEMU may take until its monitor listens."""

ACCELERATORS: Final = {"kvm": "kvm", "tcg": "tcg,thread=multi,tb-size=512"}

# The BPF LSM is in the list, AppArmor is not: docker would want a parser for it. The rest makes emulation faster.
KERNEL_ARGUMENTS: Final = (
    "console=ttyS0 quiet loglevel=3 lsm=landlock,lockdown,yama,bpf psi=1 nokaslr mitigations=off net.ifnames=0 "
    "systemd.show_status=false selinux=0 apparmor=0 random.trust_cpu=on tsc=reliable no_timer_check panic=-1"
)


class QemuError(Exception):
    """QEMU or the machine in it failed; the text has what it said."""


def hardware(image: Image, accelerator: str) -> list[str]:
    """Return the command that starts an image. A snapshot is only good for exactly this machine.

    Paths are relative to the machine's own directory, so that the command is the same for every machine.
    """
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot"]
    command += ["-M", "q35,usb=off,smbus=off,sata=off,vmport=off,hpet=off", "-accel", ACCELERATORS[accelerator]]
    command += ["-cpu", "max,-la57", "-smp", "2", "-m", str(MEMORY_MIB), "-rtc", "base=utc"]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", KERNEL_ARGUMENTS]
    command += ["-serial", "file:console", "-pidfile", "pid", "-qmp", "unix:qmp,server=on,wait=off"]
    for number, disk in enumerate(DISKS):
        command += ["-drive", f"file={disk},if=none,id=disk{number},format=qcow2,cache=unsafe,discard=unmap"]
        command += ["-device", f"virtio-blk-pci,drive=disk{number},serial={disk.removesuffix('.qcow2')}"]
    # Nothing but the agent's port is forwarded, and the guest reaches no network. Port 0 lets the host's kernel choose.
    command += ["-netdev", "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:7000"]
    return [*command, "-device", "virtio-net-pci,netdev=net0,romfile=", "-device", "virtio-rng-pci"]


@cache
def qemu_version() -> str:
    """Return what the installed QEMU says about itself; install it if it is missing."""
    install_host_tools()
    return subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True).stdout


@dataclass
class Machine:
    """A running QEMU with its files in one directory."""

    directory: Path
    child: "subprocess.Popen[bytes] | None"
    port: int = 0

    @classmethod
    def start(
        cls, image: Image, accelerator: str, directory: Path, *, restore: bool, detached: bool = False
    ) -> "Machine":
        """Start QEMU on the disks in `directory`, from the snapshot in them if `restore`.

        Unless `detached`, it dies with the thread that started it, also when that is killed.
        """
        command = hardware(image, accelerator) + (["-loadvm", SNAPSHOT] if restore else [])
        if not detached:
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        with (directory / "qemu.log").open("wb") as log:
            child = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        machine = cls(directory, child)
        machine._find_port()
        return machine

    @classmethod
    def attach(cls, directory: Path) -> "Machine":
        """Return the machine that another process started in `directory`; QemuError if there is none."""
        machine = cls(directory, None)
        machine._find_port()
        return machine

    def _find_port(self) -> None:
        """Wait until QEMU answers, and learn the port of the host that leads to the agent."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                listing = self.monitor("info usernet")
                break
            except (FileNotFoundError, ConnectionError) as error:
                if self.child is None or self.child.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise QemuError(f"no machine runs in {self.directory}\n{self.log()}") from error
                time.sleep(0.05)
        found = re.search(r"HOST_FORWARD\S*\s+\S+\s+127\.0\.0\.1\s+(\d+)", listing)
        if found is None:
            raise QemuError(f"QEMU names no forwarded port:\n{listing}")
        self.port = int(found[1])

    def monitor(self, line: str, timeout: float = 120.0) -> str:
        """Give a command to QEMU's monitor and return what it prints: for most commands nothing, or what went wrong."""
        command = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
        with self._qmp(timeout) as connection, connection.makefile("rw") as stream:
            stream.readline()  # the greeting
            for request in ({"execute": "qmp_capabilities"}, command):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                answer = _answer(stream.readline)
        return str(answer)

    def _qmp(self, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        # A socket's path has at most 107 bytes, a cache directory may have more: go through a descriptor.
        directory = os.open(self.directory, os.O_PATH)
        try:
            connection.connect(f"/proc/self/fd/{directory}/qmp")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(directory)
        return connection

    def running(self) -> bool:
        """Tell whether QEMU is there."""
        if self.child is not None:
            return self.child.poll() is None
        try:
            self.monitor("info status", timeout=10.0)
        except OSError:
            return False
        return True

    def log(self) -> str:
        """Return the ends of the guest's console and of QEMU's own messages."""
        texts = []
        for name in ("console", "qemu.log"):
            with contextlib.suppress(FileNotFoundError):
                texts.append(f"--- {name}\n{(self.directory / name).read_text(errors='replace')[-3000:]}")
        return "\n".join(texts)

    def stop(self) -> None:
        """End QEMU at once; the guest is not asked."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.directory / "pid").read_text()), signal.SIGKILL)


def _answer(readline: Callable[[], str]) -> object:
    """Return the next answer, past the events in between."""
    while True:
        line = readline()
        if not line:
            raise ConnectionError("QEMU closed its monitor")
        reply = json.loads(line)
        if "error" in reply:
            raise QemuError(reply["error"]["desc"])
        if "return" in reply:
            return reply["return"]


def create_disks(image: Image, directory: Path) -> None:
    """Make the disks of a machine that boots cold: an overlay of the root disk and an empty one."""
    root, scratch = (str(directory / disk) for disk in DISKS)
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*create, "-F", "raw", "-b", str(image.root), root], check=True)
    subprocess.run([*create, scratch, str(SCRATCH_SIZE)], check=True)


def copy_disks(source: Path, destination: Path) -> None:
    """Copy the disks of a machine, with the snapshots in them."""
    disks = [str(source / disk) for disk in DISKS]
    subprocess.run(["cp", "--reflink=auto", "--sparse=auto", *disks, str(destination)], check=True)
