from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from governor.kernel.safe_open import entries_beneath, read_beneath
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Return a container's root directory, and a secret just outside of it."""
    (tmp_path / "secret").write_text("secret")
    directory = tmp_path / "root"
    (directory / "etc").mkdir(parents=True)
    (directory / "etc/name").write_text("mine")
    fd = os.open(directory, os.O_PATH)
    yield directory, fd
    os.close(fd)


def test_a_regular_file_is_read(root: tuple[Path, int]) -> None:
    assert read_beneath(root[1], "etc/name", LIMIT) == b"mine"
    assert read_beneath(root[1], "/etc/../etc/name", LIMIT) == b"mine"


def test_links_stay_inside(root: tuple[Path, int]) -> None:
    directory, fd = root
    (directory / "absolute").symlink_to("/etc/name")
    (directory / "up").symlink_to("../../../../etc/name")
    assert read_beneath(fd, "absolute", LIMIT) == b"mine"
    assert read_beneath(fd, "up", LIMIT) == b"mine"


@pytest.mark.parametrize("target", ["../secret", "{}/secret", "/../../secret", "etc/../../secret"])
def test_the_outside_is_out_of_reach(root: tuple[Path, int], tmp_path: Path, target: str) -> None:
    directory, fd = root
    path = target.format(tmp_path)
    (directory / "link").symlink_to(path)
    (directory / "dir").symlink_to(str(Path(path).parent))
    for attempt in ("link", "dir/secret", path):
        with pytest.raises(Gone):
            read_beneath(fd, attempt, LIMIT)


def test_magic_links_are_refused(root: tuple[Path, int]) -> None:
    proc = os.open("/proc", os.O_PATH)
    try:
        for path in ("self/exe", "self/root/etc/passwd", "self/cwd/x"):
            with pytest.raises(Unsupported):
                read_beneath(proc, path, LIMIT)
    finally:
        os.close(proc)
    assert root[0].is_dir()


def test_a_loop_of_links_ends(root: tuple[Path, int]) -> None:
    (root[0] / "a").symlink_to("b")
    (root[0] / "b").symlink_to("a")
    with pytest.raises(Unsupported):
        read_beneath(root[1], "a", LIMIT)


def test_what_is_no_regular_file_is_not_opened(root: tuple[Path, int]) -> None:
    directory, fd = root
    os.mkfifo(directory / "fifo")
    names = ["fifo", "etc", "/"]
    with suppress(PermissionError):
        os.mknod(directory / "zero", 0o666 | 0o020000, os.makedev(1, 5))
        names.append("zero")
    for name in names:
        with pytest.raises(Unsupported, match="not a regular file"):
            read_beneath(fd, name, LIMIT)


@pytest.mark.parametrize("path", ["absent", "etc/name/below", "a\0b", "x" * 300])
def test_what_is_absent_or_impossible(root: tuple[Path, int], path: str) -> None:
    with pytest.raises((Gone, Unsupported)):
        read_beneath(root[1], path, LIMIT)


def test_a_huge_file_is_refused_without_reading_it(root: tuple[Path, int]) -> None:
    with (root[0] / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Unsupported, match="larger than 1000 bytes"):
        read_beneath(root[1], "huge", LIMIT)
    (root[0] / "full").write_bytes(b"x" * LIMIT)
    assert len(read_beneath(root[1], "full", LIMIT)) == LIMIT


def test_other_mounts_can_be_refused() -> None:
    slash = os.open("/", os.O_PATH)
    try:
        assert read_beneath(slash, "proc/uptime", LIMIT)
        with pytest.raises(Unsupported):
            read_beneath(slash, "proc/uptime", LIMIT, one_mount=True)
    finally:
        os.close(slash)


def test_a_race_of_links_never_leads_out(root: tuple[Path, int]) -> None:
    directory, fd = root
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in ("../secret", "etc/name"):
                (directory / "new").symlink_to(target)
                (directory / "new").rename(directory / "race")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(2000):
            with suppress(Gone, Unsupported):
                seen.add(read_beneath(fd, "race", LIMIT))
    finally:
        stop.set()
        thread.join()
    assert seen == {b"mine"}


def test_entries_are_listed_up_to_the_limit(root: tuple[Path, int]) -> None:
    directory, fd = root
    for index in range(20):
        (directory / f"etc/{index}").touch()
    (directory / "etc/link").symlink_to("/")
    assert len(entries_beneath(fd, "etc", 5)) == 5
    found = dict(entries_beneath(fd, "etc", 100))
    assert len(found) == 22
    assert found["link"].st_mode & 0o170000 == 0o120000
    for path in ("absent", "etc/name"):
        with pytest.raises(Gone):
            entries_beneath(fd, path, 5)


def test_no_descriptor_is_left_open(root: tuple[Path, int]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("etc/name", "etc", "absent"):
        with suppress(Gone, Unsupported):
            read_beneath(root[1], path, 2)
        with suppress(Gone, Unsupported):
            entries_beneath(root[1], path, 2)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
