from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import CgroupRoot
from governor.kernel.files import BUFFERS_BYTES, RETRY_USEC, Files
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from pathlib import Path


def opened(live_cgroup: Path) -> Files:
    return Files.of(CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}"))


def test_texts_of_every_length_are_read_whole(tmp_path: Path) -> None:
    files = Files.below(str(tmp_path))
    for size in (0, BUFFERS_BYTES[0] - 1, *BUFFERS_BYTES[:3], BUFFERS_BYTES[2] + 1, 10, BUFFERS_BYTES[3] + 1):
        text = os.urandom(size)
        (tmp_path / "file").write_bytes(text)
        assert files.read(["file"], 0) == [text[: BUFFERS_BYTES[-1]]]
    files.close()
    files.close()


def test_a_missing_file_is_looked_for_again_only_later(tmp_path: Path) -> None:
    files = Files.below(str(tmp_path))
    assert files.read(["a", "b"], 0) == [None, None]
    (tmp_path / "a").write_text("1")
    assert files.read(["a"], RETRY_USEC - 1) == [None]
    assert files.read(["a", "b"], RETRY_USEC) == [b"1", None]
    assert len(files) == 1
    files.close()


def test_a_symbolic_link_and_a_directory_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to("secret")
    (tmp_path / "directory").mkdir()
    files = Files.below(str(tmp_path))
    assert files.read(["link", "directory"], 0) == [None, None]
    files.close()


def test_a_cgroup_that_is_removed_is_gone(live_cgroup: Path) -> None:
    files = opened(live_cgroup)
    files.prepare(["cpu.stat", "no.such.file"], 0)
    assert len(files) == 1
    found = files.read(["cpu.stat", "no.such.file", "cgroup.events"], 0)
    assert found[0] is not None
    assert found[0].startswith(b"usage_usec ")
    assert found[1:] == [None, b"populated 0\nfrozen 0\n"]
    live_cgroup.rmdir()
    live_cgroup.mkdir()  # its path comes back, it does not
    with pytest.raises(Gone):
        files.read(["cpu.stat"], 1)
    with pytest.raises(Gone):
        files.read(["cgroup.stat"], 1)
    files.close()
    with pytest.raises(Gone):
        files.read(["cgroup.events"], 1)


def test_a_lack_of_descriptors_is_not_taken_for_a_missing_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("1")
    files = Files.below(str(tmp_path))

    def refuse(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(Unsupported, match="LimitNOFILE"):
            files.read(["file"], 0)
    assert files.read(["file"], 0) == [b"1"]
    files.close()


def test_no_directory_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="absent"):
        Files.below(str(tmp_path / "absent"))
