from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import CgroupRoot
from governor.kernel.process import cgroup_of, name_of, payload_started, start_ticks
from governor.model.errors import Gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def process(proc: Path, pid: int, comm: str, exe: str | None) -> None:
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "comm").write_bytes(os.fsencode(f"{comm}\n"))
    if exe is not None:
        (directory / "exe").symlink_to(exe)


def started(root: Path, proc: Path, *pids: int) -> bool | None:
    (root / "c").mkdir(exist_ok=True)
    (root / "c/cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    with CgroupRoot(str(root)).open("/c") as cgroup:
        return payload_started(cgroup, str(proc))


@pytest.mark.parametrize(
    ("comm", "exe", "expected"),
    [
        ("runc:[2:INIT]", "/usr/bin/runc", False),
        ("runc:[1:CHILD]", "/memfd:runc_cloned:/proc/self/exe (deleted)", False),
        ("6", "/memfd:crun_cloned:/proc/self/exe (deleted)", False),
        ("exe", "/usr/sbin/runc", False),
        ("crun", "/usr/bin/crun", False),
        ("crun", "/", False),  # crun 1.21: a file without a name
        ("crun", "/bin/busybox", False),  # for a moment after the exec: the name changes last
        ("youki:[2:INIT]", "/x", False),
        ("conmon", "/usr/bin/conmon", False),
        ("systemd-nspawn", "/usr/bin/systemd-nspawn", False),
        ("(sd-inner)", "/usr/bin/systemd-nspawn (deleted)", False),
        ("lxc-start", "/usr/bin/lxc-start", False),
        ("(nginx)", "/usr/lib/systemd/systemd-executor", False),
        ("(nginx)", "/usr/lib/systemd/systemd", False),
        ("systemd", "/usr/lib/systemd/systemd", True),
        ("(sh)", "/bin/sh", True),
        ("sleep", "/bin/sleep", True),
        ("catatonit", "/usr/libexec/podman/catatonit", True),
        ("\udcff\udcfe", "/bin/busybox", True),
    ],
)
def test_a_runtimes_init_is_told_from_the_payload(
    plain_root: Path, tmp_path: Path, comm: str, exe: str, expected: bool
) -> None:
    process(tmp_path / "proc", 7, comm, exe)
    assert started(plain_root, tmp_path / "proc", 7) is expected


def test_a_supervisor_beside_the_payload_does_not_hide_it(plain_root: Path, tmp_path: Path) -> None:
    process(tmp_path / "proc", 7, "systemd-nspawn", "/usr/bin/systemd-nspawn")
    process(tmp_path / "proc", 8, "systemd", "/usr/lib/systemd/systemd")
    assert started(plain_root, tmp_path / "proc", 7) is False
    assert started(plain_root, tmp_path / "proc", 7, 8) is True


def test_nothing_is_known_without_processes(plain_root: Path, tmp_path: Path) -> None:
    process(tmp_path / "proc", 9, "zombie", None)
    assert started(plain_root, tmp_path / "proc") is None
    assert started(plain_root, tmp_path / "proc", 9, 10) is None  # a zombie, and one that ended meanwhile


@pytest.fixture
def fake_runc(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a shell that is called runc and, told to, becomes sleep: what a runtime's init does."""
    runc = tmp_path / "runc"
    shutil.copy("/bin/sh", runc)
    with subprocess.Popen([runc, "-c", "read go; exec sleep 60"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def test_a_real_exec_is_seen(live_cgroup: Path, fake_runc: subprocess.Popen[bytes]) -> None:
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as cgroup:
        cgroup.write("cgroup.procs", str(fake_runc.pid))
        assert cgroup_of(fake_runc.pid) == f"/{live_cgroup.name}"
        before = start_ticks(fake_runc.pid)
        assert payload_started(cgroup) is False
        assert fake_runc.stdin is not None
        fake_runc.stdin.write(b"go\n")
        fake_runc.stdin.flush()
        deadline = time.monotonic() + 10
        while not payload_started(cgroup):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert start_ticks(fake_runc.pid) == before
        assert name_of(fake_runc.pid) == "sleep"
        fake_runc.kill()
        fake_runc.wait()
        assert payload_started(cgroup) is None


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    for look in (cgroup_of, start_ticks, name_of):
        with pytest.raises(Gone):
            look(child.pid)


def test_a_name_with_parentheses_does_not_shift_the_fields(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(str(number) for number in range(4, 30))
    (tmp_path / "7/stat").write_text(f"7 (a) R 1) S {fields}\n")
    assert start_ticks(7, str(tmp_path)) == 22
    (tmp_path / "7/stat").write_text("7 (a")
    with pytest.raises(Gone):
        start_ticks(7, str(tmp_path))


def test_hybrid_hosts_list_the_v1_hierarchies_too(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_bytes(b"2:cpu:/v1\n1:name=systemd:/x\n0::/a/b\xff\n")
    assert cgroup_of(7, str(tmp_path)) == "/a/b\udcff"
    (tmp_path / "7/cgroup").write_text("2:cpu:/v1\n")
    with pytest.raises(Gone):
        cgroup_of(7, str(tmp_path))


def test_huge_pages_can_be_declined() -> None:
    """In a process of its own: it lasts as long as that."""
    script = (
        "from governor.kernel.own import disable_huge_pages; assert disable_huge_pages();"
        "print([line for line in open('/proc/self/status') if line.startswith('THP_enabled')][0].split()[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "0"
