"""Which whole disk does a path mean in an IO directive? The steps are those of systemd's lookup_block_device().

systemd: src/core/cgroup.c and src/shared/blockdev-util.c. A block device node means itself, anything else the device
that its file system is on; then device mapper is followed down to the one device beneath, a partition to its disk.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from governor.model.errors import ActuationError

_NUMBER = re.compile(r"(?:/dev/block/)?([0-9]{1,7}:[0-9]{1,7})")
_MAX_LAYERS = 16
"""LVM on LUKS on RAID is three; sysfs has no loops, but a bound costs nothing."""


def whole_disk(path: str, proc_root: str = "/proc", sys_root: str = "/sys") -> str:
    """Return "major:minor" of the disk that `path` means; "major:minor" itself is taken as it is.

    Raises ActuationError where there is none: a network or memory file system, a character device, no such path.
    """
    if _NUMBER.fullmatch(path) and not path.startswith("/"):
        return path
    number = _NUMBER.fullmatch(path)
    device = number[1] if number else _device_of(path, proc_root, sys_root)
    return _disk_of(_lowest(device, Path(sys_root)), Path(sys_root))


def _device_of(path: str, proc_root: str, sys_root: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 -- the path may be any string; Path would normalise it
    except (OSError, ValueError) as error:
        raise ActuationError(f"{path!r} is no device and on no device: {error}") from error
    if stat.S_ISCHR(status.st_mode):
        raise ActuationError(f"{path!r} is a character device, but IO limits need a block device")
    if stat.S_ISBLK(status.st_mode):
        return _text(status.st_rdev)
    if os.major(status.st_dev):
        return _text(status.st_dev)
    return _behind_anonymous(path, proc_root, sys_root)


def _behind_anonymous(path: str, proc_root: str, sys_root: str) -> str:
    """Return the only device of the btrfs on which `path` lies: btrfs shows made-up numbers in stat(2)."""
    source = _btrfs_source(
        os.path.realpath(path), Path(proc_root, "self/mountinfo").read_text(errors="surrogateescape")
    )
    try:
        status = os.stat(source) if source else None  # noqa: PTH116 -- as above
    except OSError:
        status = None
    if status is None or not stat.S_ISBLK(status.st_mode):
        raise ActuationError(f"the file system of {path!r} has no block device behind it")
    device = _text(status.st_rdev)
    if not _alone(device, Path(sys_root)):
        raise ActuationError(f"the btrfs of {path!r} has several devices: name one of them")
    return device


def _btrfs_source(path: str, mountinfo: str) -> str:
    """Return the source of the innermost btrfs mount that holds `path`, else "" (man proc_pid_mountinfo)."""
    best = ("", "")
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        point = _unescape(mount.split(" ")[4])
        kind, source = rest.split(" ")[:2]
        inside = path == point or path.startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= len(best[0]):
            best = (point, _unescape(source) if kind == "btrfs" else "")
    return best[1]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _alone(device: str, sys_root: Path) -> bool:
    """Return whether no other device belongs to the btrfs that `device` belongs to."""
    for devices in sys_root.glob("fs/btrfs/*/devices"):
        numbers = [(entry / "dev").read_text().strip() for entry in devices.iterdir()]
        if device in numbers:
            return len(numbers) == 1
    return True


def _lowest(device: str, sys_root: Path) -> str:
    """Return the device at the bottom of a stack, as far down as there is exactly one beneath."""
    for _ in range(_MAX_LAYERS):
        slaves = sys_root / "dev/block" / device / "slaves"
        names = sorted(slaves.iterdir()) if slaves.is_dir() else []
        disks = {_disk_of((name / "dev").read_text().strip(), sys_root) for name in names}
        if len(disks) != 1:
            return device
        # dm-verity lies on two partitions of one disk: then the disk is the answer
        device = (names[0] / "dev").read_text().strip() if len(names) == 1 else disks.pop()
    return device


def _disk_of(device: str, sys_root: Path) -> str:
    """Return the whole disk of a partition; any other device is its own."""
    directory = sys_root / "dev/block" / device
    if not (directory / "partition").exists():
        return device
    return (directory.resolve().parent / "dev").read_text().strip()


def _text(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"
