"""Pressure files, and triggers as far as this machine has them: without CAP_SYS_RESOURCE windows are 2 s at least."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.kernel.cgroup import Cgroup, CgroupRoot
from governor.kernel.psi import HOST, NO_PRESSURE, PsiTriggers, parse, parse_totals
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

STALL_USEC, WINDOW_USEC = 20_000, 2_000_000

percents = st.integers(0, 10_000)
totals = st.integers(0, 2**64 - 1)
lines = st.tuples(percents, percents, percents, totals)


def line(share: str, ten: int, sixty: int, threehundred: int, total: int) -> str:
    averages = (("avg10", ten), ("avg60", sixty), ("avg300", threehundred))
    words = (f"{name}={value // 100}.{value % 100:02}" for name, value in averages)
    return f"{share} {' '.join(words)} total={total}\n"


@given(lines, st.none() | lines)
def test_what_the_kernel_writes_comes_back(some: tuple[int, ...], full: tuple[int, ...] | None) -> None:
    text = (line("some", *some) + (line("full", *full) if full else "")).encode()
    both = [one for one in (some, full) if one]
    expected = tuple(one[3] for one in both)
    averages = tuple(value / 10_000 for one in both for value in one[:2])
    found = parse(text)
    assert found[0] == expected
    assert found[1] == pytest.approx(averages)
    assert parse_totals(text) == (expected, ())


@given(st.binary(max_size=150) | st.text("somefultavg10=. \n", max_size=150).map(str.encode))
def test_nonsense_is_no_failure(text: bytes) -> None:
    for parser in (parse, parse_totals):
        some_and_full, averages = parser(text)
        assert len(some_and_full) <= 2
        assert len(averages) <= 4


@pytest.mark.parametrize("text", [b"", b"some\n", b"some avg10=x avg60=0.00 avg300=0.00 total=y\n", b"0 0 0\n"])
def test_what_is_not_understood_is_absent(text: bytes) -> None:
    assert parse(text) == parse_totals(text) == NO_PRESSURE


@pytest.fixture
async def triggers() -> AsyncIterator[tuple[PsiTriggers, asyncio.Queue[int]]]:
    woken: asyncio.Queue[int] = asyncio.Queue()
    made = PsiTriggers(woken.put_nowait)
    yield made, woken
    made.close()
    made.close()


@pytest.fixture
def cgroup(live_cgroup: Path) -> Iterator[Cgroup]:
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as opened:
        yield opened


def add(made: PsiTriggers, cgroup: Cgroup) -> None:
    try:
        made.add(cgroup, "cpu", "some", STALL_USEC, WINDOW_USEC)
    except Unsupported as reason:
        pytest.skip(str(reason))


WANTS_ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
open(sys.argv[1], "w").write("0")
while True:
    pass
"""


def crowd(directory: Path) -> list[subprocess.Popen[bytes]]:
    """Let three processes in a cgroup want one and the same CPU."""
    argv = [sys.executable, "-c", WANTS_ONE_CPU, str(directory / "cgroup.procs")]
    return [subprocess.Popen(argv) for _ in range(3)]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_waiting_tasks_wake_with_the_inode(
    triggers: tuple[PsiTriggers, asyncio.Queue[int]], cgroup: Cgroup, live_cgroup: Path
) -> None:
    made, woken = triggers
    add(made, cgroup)
    assert len(made) == 1
    processes = crowd(live_cgroup)
    try:
        assert await asyncio.wait_for(woken.get(), 30) == cgroup.inode
        assert await asyncio.wait_for(woken.get(), 30) == cgroup.inode, "it wakes again after the next window"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    made.remove(cgroup.inode)
    made.remove(cgroup.inode)
    assert len(made) == 0


async def test_the_trigger_of_a_cgroup_that_is_gone_goes_without_a_wake(
    triggers: tuple[PsiTriggers, asyncio.Queue[int]], cgroup: Cgroup, live_cgroup: Path
) -> None:
    made, woken = triggers
    add(made, cgroup)
    os.rmdir(live_cgroup)  # noqa: PTH106 - memory-backed, as all of kernfs
    for _ in range(500):
        if not len(made):
            break
        await asyncio.sleep(0.01)
    assert len(made) == 0
    assert woken.empty()
    with pytest.raises(Gone):
        made.add(cgroup, "cpu", "some", STALL_USEC, WINDOW_USEC)


async def test_what_the_kernel_refuses_is_said_in_words(
    triggers: tuple[PsiTriggers, asyncio.Queue[int]], cgroup: Cgroup, tmp_path: Path
) -> None:
    made, _ = triggers
    add(made, cgroup)
    before = descriptors()
    with pytest.raises(Unsupported, match="window"):
        made.add(cgroup, "cpu", "some", 1, 1)
    with pytest.raises(Unsupported, match="no pressure stall information"):
        made.add_host("memory", "some", STALL_USEC, WINDOW_USEC, str(tmp_path))
    assert descriptors() == before
    assert len(made) == 1


@pytest.mark.parametrize(("code", "words"), [(errno.EOPNOTSUPP, "accounting is off"), (errno.EPERM, "SYS_RESOURCE")])
async def test_every_refusal_has_its_words(
    triggers: tuple[PsiTriggers, asyncio.Queue[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    words: str,
) -> None:
    (tmp_path / "memory").write_text("")

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        with pytest.raises(Unsupported, match=words):
            triggers[0].add_host("memory", "some", STALL_USEC, WINDOW_USEC, str(tmp_path))


async def test_the_host_has_triggers_too(triggers: tuple[PsiTriggers, asyncio.Queue[int]]) -> None:
    made, _ = triggers
    try:
        made.add_host("memory", "full", 1_000_000, WINDOW_USEC)
    except Unsupported as reason:
        pytest.skip(str(reason))
    assert len(made) == 1
    made.remove(HOST)
    assert len(made) == 0
    made.close()
    with pytest.raises(Unsupported, match="closed"):
        made.add_host("memory", "full", 1_000_000, WINDOW_USEC)
