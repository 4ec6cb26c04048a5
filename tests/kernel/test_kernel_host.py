from __future__ import annotations

import os
from pathlib import Path

import pytest

from governor.kernel.blockdev import whole_disk
from governor.kernel.host import Host
from governor.model.errors import ActuationError, Unsupported


def block_node(path: Path, major: int, minor: int) -> str:
    try:
        os.mknod(path, 0o600 | 0o060000, os.makedev(major, minor))
    except PermissionError:
        pytest.skip("cannot make device nodes here")
    return str(path)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Return a sysfs with a disk 8:0, its partitions 8:1 and 8:2, LUKS 253:0 on 8:2, LVM 253:1 on it, RAID 9:0."""
    sys = tmp_path / "sys"
    places = {
        "8:0": "devices/sda",
        "8:1": "devices/sda/sda1",
        "8:2": "devices/sda/sda2",
        "8:16": "devices/sdb",
        "253:0": "devices/dm-0",
        "253:1": "devices/dm-1",
        "253:2": "devices/dm-2",
        "9:0": "devices/md0",
    }
    (sys / "dev/block").mkdir(parents=True)
    for number, place in places.items():
        (sys / place / "slaves").mkdir(parents=True)
        (sys / place / "dev").write_text(f"{number}\n")
        (sys / "dev/block" / number).symlink_to(sys / place)
        if place.startswith("devices/sda/"):
            (sys / place / "partition").write_text("1\n")
    for upper, lower in (("253:0", "8:2"), ("253:1", "253:0"), ("9:0", "8:2"), ("9:0", "8:16")):
        (sys / places[upper] / "slaves" / lower).symlink_to(sys / places[lower])
    for partition in ("8:1", "8:2"):  # dm-verity
        (sys / places["253:2"] / "slaves" / partition).symlink_to(sys / places[partition])
    return sys


@pytest.mark.parametrize(
    ("number", "disk"),
    [("8:0", "8:0"), ("8:1", "8:0"), ("253:1", "8:0"), ("253:2", "8:0"), ("9:0", "9:0"), ("7:5", "7:5")],
)
def test_a_device_node_means_the_disk_beneath(sysfs: Path, tmp_path: Path, number: str, disk: str) -> None:
    major, minor = map(int, number.split(":"))
    node = block_node(tmp_path / "node", major, minor)
    assert whole_disk(node, sys_root=str(sysfs)) == disk
    assert whole_disk(f"/dev/block/{number}", sys_root=str(sysfs)) == disk


def test_a_canonical_number_stays(sysfs: Path) -> None:
    assert whole_disk("8:1", sys_root=str(sysfs)) == "8:1"


def test_a_path_means_the_device_of_its_file_system(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    if not os.major(device):
        pytest.skip("the temporary directory is not on a block device")
    major, minor = whole_disk(str(tmp_path)).split(":")
    entry = Path(f"/sys/dev/block/{major}:{minor}")
    assert entry.exists()
    assert not (entry / "partition").exists()


@pytest.mark.parametrize("path", ["/proc", "/dev/null", "/no/such/path", "a\0b", "", "/dev/block/x:y"])
def test_a_path_without_a_block_device_is_refused_in_words(path: str) -> None:
    with pytest.raises(ActuationError, match="device"):
        whole_disk(path)


@pytest.mark.parametrize("members", [["8:0"], ["8:0", "8:16"]])
def test_btrfs_is_found_by_its_mount(sysfs: Path, tmp_path: Path, members: list[str]) -> None:
    node = block_node(tmp_path / "sda", 8, 0)
    for member in members:
        link = sysfs / "fs/btrfs/1234/devices" / member
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(sysfs / "dev/block" / member)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        f"25 1 0:22 / / rw - btrfs {node} rw,subvol=/root\n26 25 0:5 / /dev rw shared:2 - devtmpfs udev rw\n"
    )
    arguments = ("/proc", str(tmp_path / "proc"), str(sysfs))  # /proc has anonymous numbers, as btrfs has
    if len(members) == 1:
        assert whole_disk(*arguments) == "8:0"
    else:
        with pytest.raises(ActuationError, match="several devices"):
            whole_disk(*arguments)


def test_this_host_can_be_probed() -> None:
    host = Host.probe()
    assert host.memory_total_bytes % host.page_size_bytes == 0
    assert host.memory_total_bytes > 2**20
    assert set(os.sched_getaffinity(0)) <= set(host.cpus)
    assert host.tasks_max > 100


def test_a_host_that_does_not_tell_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        Host.probe(proc_root=str(tmp_path))
