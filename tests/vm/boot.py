"""Start machines: where their files lie, under which accelerator, from which snapshot.

A snapshot is good for one QEMU, one command line and one root disk, so it is made on the machine that uses it and lies
beside the image under a name that is the hash of these. Making it boots the guest once and warms what is slow.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from tests.vm import image, qemu
from tests.vm.image import Image
from tests.vm.qemu import Machine, QemuError

PROBE_SECONDS: Final = 30.0
INITRD_SAYS: Final = "guest: initrd started"
WARM: Final = Path(__file__).parent / "tools" / "warm"
"""The script that runs in the guest between its first boot and the snapshot."""


class Workplace:
    """A directory for one machine's files, removed by `close`, or later by somebody else if this process was killed."""

    def __init__(self, name: str) -> None:
        """Make the directory, after removing those of processes that are gone."""
        parent = image.cache() / "run"
        parent.mkdir(parents=True, exist_ok=True)
        with image.locked(image.cache() / "run.lock"):
            for abandoned in parent.iterdir():
                _remove_if_abandoned(abandoned)
            self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
            self._lock = _lock(self.directory)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()


def _lock(directory: Path) -> IO[bytes]:
    """Lock a directory while the returned file is open and this process lives; OSError if somebody else has it."""
    file = (directory / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def _remove_if_abandoned(directory: Path) -> None:
    """Remove a machine's directory if the process that made it is gone. QEMU died with that process."""
    with contextlib.suppress(OSError), _lock(directory):
        shutil.rmtree(directory, ignore_errors=True)


def accelerator(made: Image) -> str:
    """Return "kvm" where a guest boots under it, else "tcg". A probe boot decides, once a QEMU and a host kernel."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    key = hashlib.sha256(f"{qemu.qemu_version()} {platform.uname()}".encode()).hexdigest()[:12]
    answer = made.directory / f"accelerator-{key}"
    if not answer.exists():
        answer.write_text("kvm" if _boots_under_kvm(made) else "tcg")
    return answer.read_text()


def _boots_under_kvm(made: Image) -> bool:
    """Start the kernel under KVM and wait for the initrd's first words."""
    place = Workplace("probe")
    try:
        qemu.create_disks(made, place.directory)
        machine = Machine.start(made, "kvm", place.directory, restore=False)
        try:
            return _console_says(machine, INITRD_SAYS, PROBE_SECONDS)
        finally:
            machine.stop()
    except (QemuError, OSError):
        return False
    finally:
        place.close()


def _console_says(machine: Machine, words: str, timeout: float) -> bool:
    """Tell whether the guest's console shows some words within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while machine.running() and time.monotonic() < deadline:
        if words in machine.log():
            return True
        time.sleep(0.2)
    return False


def detached_directory(suite: str, name: str) -> Path:
    """Return the directory of a machine that outlives the process which started it."""
    return image.cache() / "up" / f"{suite}-{name}"


def start(made: Image, directory: Path, source: Path | None, *, detached: bool = False) -> Machine:
    """Start a machine with its files in an empty directory: from the snapshot in `source`, or cold if that is None."""
    if source is None:
        qemu.create_disks(made, directory)
    else:
        qemu.copy_disks(source, directory)
    return Machine.start(made, accelerator(made), directory, restore=source is not None, detached=detached)


def snapshot(made: Image, warm: Callable[[Machine], None]) -> Path:
    """Return the directory with the disks of the image's snapshot; make it if need be (one to two minutes).

    `warm` is called with a machine that boots cold; what it leaves behind is what the snapshot holds.
    """
    chosen = accelerator(made)
    parts = (qemu.qemu_version(), *qemu.hardware(made, chosen), WARM.read_text(), str(platform.uname()))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    directory = made.directory / f"snapshot-{key}"
    with image.locked(made.directory / "snapshot.lock"):
        if not directory.exists():
            _make_snapshot(made, chosen, directory, warm)
    return directory


def _make_snapshot(made: Image, chosen: str, directory: Path, warm: Callable[[Machine], None]) -> None:
    place = Workplace(f"{made.suite}-snapshot")
    try:
        qemu.create_disks(made, place.directory)
        machine = Machine.start(made, chosen, place.directory, restore=False)
        try:
            warm(machine)
            complaint = machine.monitor(f"savevm {qemu.SNAPSHOT}")
        finally:
            machine.stop()
        if complaint:
            raise QemuError(complaint)
        for old in made.directory.glob("snapshot-*"):
            shutil.rmtree(old)
        unfinished = made.directory / "unfinished-snapshot"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        qemu.copy_disks(place.directory, unfinished)
        unfinished.rename(directory)
    finally:
        place.close()
