from __future__ import annotations

import asyncio
import os
import struct
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import Cgroup, CgroupRoot
from governor.kernel.events import BATCH_SEC, EventFiles
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Wakes = asyncio.Queue[frozenset[int]]


@pytest.fixture
async def events() -> AsyncIterator[tuple[EventFiles, Wakes]]:
    woken: Wakes = asyncio.Queue()
    made = EventFiles(woken.put_nowait)
    yield made, woken
    made.close()
    made.close()


def container(parent: Path, name: str) -> Cgroup:
    (parent / name).mkdir()
    (parent / name / "memory.events").write_text("oom_kill 0\n")
    return Cgroup(f"/{name}", os.open(parent / name, os.O_RDONLY | os.O_DIRECTORY))


async def test_changes_that_come_together_wake_once(events: tuple[EventFiles, Wakes], tmp_path: Path) -> None:
    made, woken = events
    with container(tmp_path, "a") as one, container(tmp_path, "b") as other, container(tmp_path, "c") as still:
        for cgroup in (one, other, still, one):
            made.add(cgroup)
        assert len(made) == 3
        for text in ("1", "2", "3"):
            (tmp_path / "a/memory.events").write_text(text)
            (tmp_path / "b/memory.events").write_text(text)
        assert await asyncio.wait_for(woken.get(), 5) == {one.inode, other.inode}
        await asyncio.sleep(5 * BATCH_SEC)
        assert woken.empty()
        (tmp_path / "c/memory.events").write_text("x")
        assert await asyncio.wait_for(woken.get(), 5) == {still.inode}


async def test_what_is_removed_wakes_no_more(events: tuple[EventFiles, Wakes], tmp_path: Path) -> None:
    made, woken = events
    with container(tmp_path, "a") as one:
        made.add(one)
        (tmp_path / "a/memory.events").write_text("1")
        made.remove(one.inode)
        made.remove(one.inode)
        (tmp_path / "a/memory.events").write_text("2")
        await asyncio.sleep(5 * BATCH_SEC)
        assert woken.empty()
        assert len(made) == 0


async def test_it_is_the_opened_cgroup_not_the_path(events: tuple[EventFiles, Wakes], tmp_path: Path) -> None:
    made, woken = events
    with container(tmp_path, "a") as one:
        (tmp_path / "a").rename(tmp_path / "moved")
        made.add(one)
        (tmp_path / "moved/memory.events").write_text("1")
        assert await asyncio.wait_for(woken.get(), 5) == {one.inode}


async def test_what_cannot_be_watched(events: tuple[EventFiles, Wakes], tmp_path: Path) -> None:
    made, _ = events
    with container(tmp_path, "a") as one:
        (one_file := tmp_path / "a/memory.events").unlink()
        (tmp_path / "a/cgroup.procs").write_text("")
        with pytest.raises(Unsupported, match=one_file.name):
            made.add(one)
        (tmp_path / "a/cgroup.procs").unlink()
        with pytest.raises(Gone):
            made.add(one)


async def test_an_overflow_wakes_everybody(events: tuple[EventFiles, Wakes], tmp_path: Path) -> None:
    made, _ = events
    with container(tmp_path, "a") as one, container(tmp_path, "b") as other:
        made.add(one)
        made.add(other)
        watch, mask, _, _ = struct.unpack("iIII", struct.pack("iIII", -1, 0x4000, 0, 0))
        made._note(watch, mask)
        assert made._changed == {one.inode, other.inode}


async def test_the_kernel_tells_of_a_real_event_file(live_cgroup: Path) -> None:
    woken: Wakes = asyncio.Queue()
    made = EventFiles(woken.put_nowait, "cgroup.events")
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as cgroup:
        made.add(cgroup)
        process = await asyncio.create_subprocess_exec("sleep", "60")
        cgroup.write("cgroup.procs", str(process.pid))
        assert await asyncio.wait_for(woken.get(), 5) == {cgroup.inode}
        process.kill()
        await process.wait()
    made.close()
