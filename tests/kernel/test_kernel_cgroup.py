from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import CgroupRoot
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.send_signal(signal.SIGKILL)


def opened(path: Path) -> tuple[CgroupRoot, str]:
    return CgroupRoot(str(path.parent)), f"/{path.name}"


def make(root: Path, path: str, **files: str) -> Path:
    directory = root / path
    directory.mkdir(parents=True)
    for file, text in {"cgroup_procs": "", **files}.items():
        (directory / file.replace("_", ".")).write_text(text)
    return directory


def test_identity_is_the_inode_of_the_directory(live_cgroup: Path) -> None:
    root, path = opened(live_cgroup)
    with root.open(path) as cgroup:
        assert cgroup.inode == live_cgroup.stat().st_ino
        assert cgroup.path == path


def test_a_path_that_comes_back_is_another_cgroup(live_cgroup: Path) -> None:
    root, path = opened(live_cgroup)
    with root.open(path) as before:
        assert before.read("cgroup.events") is not None
        live_cgroup.rmdir()
        live_cgroup.mkdir()
        for file in ("cgroup.events", "cpu.stat"):  # a cached descriptor and a fresh one
            with pytest.raises(Gone):
                before.read(file)
        with pytest.raises(Gone):
            before.write("cgroup.procs", str(os.getpid()))
        with pytest.raises(Gone):
            before.children()
        with root.open(path) as after:
            assert after.inode != before.inode
            assert after.processes() == ()


def test_a_missing_file_is_none_while_the_cgroup_lives(live_cgroup: Path) -> None:
    root, path = opened(live_cgroup)
    with root.open(path) as cgroup:
        assert cgroup.read("no.such.file") is None
        assert cgroup.read("cgroup.procs") == ""


def test_processes_below_are_counted(live_cgroup: Path, sleeper: subprocess.Popen[bytes]) -> None:
    (live_cgroup / "payload" / "deep").mkdir(parents=True)
    root, path = opened(live_cgroup)
    with root.open(path) as cgroup, root.open(f"{path}/payload/deep") as deep:
        assert not cgroup.populated()
        deep.write("cgroup.procs", str(sleeper.pid))
        assert cgroup.populated()
        assert cgroup.processes() == (sleeper.pid,)
        assert cgroup.children() == ("payload",)
        assert [each.path for each in cgroup.walk()] == [f"{path}/payload", f"{path}/payload/deep"]
        sleeper.kill()
        sleeper.wait()


def test_a_write_that_the_kernel_refuses_says_why(live_cgroup: Path) -> None:
    root, path = opened(live_cgroup)
    with root.open(path) as cgroup, pytest.raises(ActuationError, match="Invalid argument"):
        cgroup.write("cgroup.procs", "nonsense")


def test_the_tree_finds_every_cgroup_once(live_cgroup: Path) -> None:
    for name in ("a/b/c", "a/d", "e"):
        (live_cgroup / name).mkdir(parents=True)
    root = CgroupRoot.find()
    found = dict(root.tree())
    ours = {path: inode for path, inode in found.items() if path.startswith(f"/{live_cgroup.name}/")}
    assert {path.removeprefix(f"/{live_cgroup.name}") for path in ours} == {"/a", "/a/b", "/a/b/c", "/a/d", "/e"}
    assert all(inode == (Path(root.path) / path[1:]).stat().st_ino for path, inode in ours.items())


def test_names_are_any_bytes(live_cgroup: Path) -> None:
    name = os.fsdecode(b"\xff\xfe \"'\x1b[31m")
    (live_cgroup / name).mkdir()
    root, path = opened(live_cgroup)
    assert f"{path}/{name}" in dict(root.tree())
    with root.open(f"{path}/{name}") as cgroup, root.open(path) as parent:
        assert cgroup.exists()
        assert parent.children() == (name,)
        str(ActuationError(f"{cgroup.path!r}")).encode("ascii")


def test_churn_never_raises(live_cgroup: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for index in range(20):
                (live_cgroup / f"c{index}" / "x").mkdir(parents=True)
            for index in range(20):
                (live_cgroup / f"c{index}" / "x").rmdir()
                (live_cgroup / f"c{index}").rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    root, path = opened(live_cgroup)
    try:
        with root.open(path) as cgroup:
            for _ in range(100):
                assert path in dict(root.tree())
                for below in cgroup.walk():
                    assert below.inode
                assert cgroup.processes() == ()
    finally:
        stop.set()
        thread.join()


def test_long_files_are_read_whole(plain_root: Path) -> None:
    text = "".join(f"{pid}\n" for pid in range(20_000))
    make(plain_root, "big", cgroup_procs=text)
    with CgroupRoot(str(plain_root)).open("/big") as cgroup:
        assert cgroup.read("cgroup.procs") == text
        assert len(cgroup.processes()) == 20_000


def test_a_changed_value_is_seen_through_the_open_descriptor(plain_root: Path) -> None:
    make(plain_root, "c", pids_max="max\n")
    with CgroupRoot(str(plain_root)).open("/c") as cgroup:
        assert cgroup.read("pids.max") == "max\n"
        cgroup.write("pids.max", "7")
        assert cgroup.read("pids.max") == "7"


@pytest.mark.parametrize("path", ["/absent", "/../etc", "/c/../../x", "/c\0d", "/c/file"])
def test_what_is_no_cgroup_is_gone(plain_root: Path, path: str) -> None:
    (make(plain_root, "c") / "file").write_text("")
    with pytest.raises(Gone):
        CgroupRoot(str(plain_root)).open(path)


def test_symbolic_links_are_not_followed(plain_root: Path) -> None:
    make(plain_root, "c")
    (plain_root / "link").symlink_to(plain_root / "c")
    root = CgroupRoot(str(plain_root))
    with pytest.raises(Gone):
        root.open("/link")
    assert [path for path, _ in root.tree()] == ["/c"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_closing_twice_does_nothing_and_a_closed_cgroup_is_gone(plain_root: Path) -> None:
    make(plain_root, "c", pids_max="max\n")
    cgroup = CgroupRoot(str(plain_root)).open("/c")
    assert cgroup.read("pids.max") == "max\n"
    before = descriptors()
    cgroup.close()
    cgroup.close()
    assert descriptors() == before - 2
    with pytest.raises(Gone):
        cgroup.read("pids.max")


def test_a_root_is_recognised_by_its_magic(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        CgroupRoot.find(str(tmp_path))
    with pytest.raises(Unsupported):
        CgroupRoot(str(tmp_path / "absent"))
