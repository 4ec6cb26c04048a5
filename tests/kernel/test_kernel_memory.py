from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import Cgroup, CgroupRoot
from governor.kernel.memory import current_bytes, parse_stat, reclaim, unreclaimable_bytes
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

STAT = """anon 600
file 300
slab_reclaimable 50
inactive_anon 400
active_anon 200
inactive_file 200
active_file 100
"""


def cgroup_with(root: Path, **files: str) -> Cgroup:
    directory = root / "c"
    directory.mkdir()
    for file, text in {"cgroup_procs": "", **files}.items():
        (directory / file.replace("_", ".")).write_text(text)
    return CgroupRoot(str(root)).open("/c")


def proc_with(tmp_path: Path, swap_free_kib: int) -> str:
    (tmp_path / "meminfo").write_text(f"MemTotal: 100 kB\nSwapFree:  {swap_free_kib} kB\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("swap_max", "swap_current", "free_kib", "expected"),
    [
        ("max", "0", 1000, 50),  # all anonymous memory fits into swap
        ("100", "40", 1000, 590),  # the cgroup may swap 60 more
        ("max", "0", 0, 650),  # the host has no swap left
        ("10", "40", 1000, 650),
    ],
)
def test_what_cannot_be_reclaimed(
    plain_root: Path, tmp_path: Path, swap_max: str, swap_current: str, free_kib: int, expected: int
) -> None:
    files = {"memory_current": "1000\n", "memory_stat": STAT, "memory_swap_max": swap_max}
    with cgroup_with(plain_root, memory_swap_current=swap_current, **files) as cgroup:
        assert current_bytes(cgroup) == 1000
        assert unreclaimable_bytes(cgroup, proc_with(tmp_path, free_kib)) == expected


def test_without_swap_accounting_anonymous_memory_stays(plain_root: Path, tmp_path: Path) -> None:
    with cgroup_with(plain_root, memory_current="1000\n", memory_stat=STAT) as cgroup:
        assert unreclaimable_bytes(cgroup, proc_with(tmp_path, 1000)) == 650


def test_without_the_controller_nothing_is_known(live_cgroup: Path) -> None:
    if "memory" in (live_cgroup / "cgroup.controllers").read_text().split():
        pytest.skip("this machine has the memory controller")
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as cgroup:
        assert current_bytes(cgroup) is None
        assert unreclaimable_bytes(cgroup) is None
        with pytest.raises(Unsupported, match=r"memory\.reclaim"):
            reclaim(cgroup, 4096)
        live_cgroup.rmdir()
        with pytest.raises(Gone):
            reclaim(cgroup, 4096)
        with pytest.raises(Gone):
            current_bytes(cgroup)


def test_reclaim_asks_for_bytes(plain_root: Path) -> None:
    with cgroup_with(plain_root, memory_reclaim="") as cgroup:
        reclaim(cgroup, 4096)
    assert (plain_root / "c/memory.reclaim").read_text() == "4096"


class RefusingCgroup(Cgroup):
    """A cgroup whose kernel refuses every write, as a kernel with the memory controller may: there is none here."""

    code = 0

    def write(self, file: str, text: str) -> None:
        raise ActuationError(f"cannot write {text} to {file}") from OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINVAL])
def test_a_partial_reclaim_is_no_error(plain_root: Path, code: int) -> None:
    cgroup_with(plain_root).close()
    with RefusingCgroup("/c", os.open(plain_root / "c", os.O_RDONLY)) as cgroup:
        cgroup.code = code
        with nullcontext() if code == errno.EAGAIN else pytest.raises(ActuationError):
            reclaim(cgroup, 4096)


def test_lines_that_are_no_field_are_left_out() -> None:
    assert parse_stat("x 1\nbad\ny z\n") == {"x": 1}
