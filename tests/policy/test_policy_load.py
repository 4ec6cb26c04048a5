"""Directories of policies: layers, masks, and whom a file must belong to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from governor.model.errors import PolicyError
from governor.model.policy import HostSettings, Mode
from governor.policy.load import Directories, load

if TYPE_CHECKING:
    from collections.abc import Callable
Write: TypeAlias = "Callable[..., Path]"

GOOD = '[match]\nname = "a"\n'
BAD = '[match]\nnmae = "a"\n'


def refusal(directories: Directories) -> str:
    with pytest.raises(PolicyError) as caught:
        load(directories)
    return str(caught.value)


def test_without_directories_there_are_no_policies(directories: Directories) -> None:
    found = load(directories)
    assert (found.policies, found.settings) == ((), HostSettings())


def test_all_layers_are_read_in_the_order_of_names(directories: Directories, write: Write) -> None:
    for layer, name in (("etc", "50-b.toml"), ("run", "10-a.toml"), ("usr/lib", "90-c.toml")):
        write(layer, name, GOOD)
    found = load(directories)
    assert [(policy.name, policy.mode) for policy in found.policies] == [
        ("10-a", Mode.ENFORCE),
        ("50-b", Mode.ENFORCE),
        ("90-c", Mode.OBSERVE),
    ]
    assert found.policies[0].file == str(directories.root / "run/governor/policies.d/10-a.toml")


def test_a_higher_layer_masks_the_same_name_even_where_the_lower_is_bad(directories: Directories, write: Write) -> None:
    write("usr/lib", "a.toml", BAD)
    write("run", "a.toml", '[match]\nname = "run"\n')
    write("etc", "a.toml", '[match]\nname = "etc"\n')
    assert [policy.match.name for policy in load(directories).policies] == [("etc",)]


def test_a_link_to_dev_null_disables(directories: Directories, write: Write) -> None:
    write("usr/lib", "a.toml", GOOD)
    mask = write("etc", "b.toml", GOOD)
    mask.unlink()
    mask.with_name("a.toml").symlink_to("/dev/null")
    assert load(directories).policies == ()


def test_other_names_are_not_policies(directories: Directories, write: Write) -> None:
    for name in (".hidden.toml", "a.toml.bak", "a.toml~", "README", ".toml"):
        write("etc", name, BAD)
    assert load(directories).policies == ()


def test_a_link_to_a_file_is_followed_and_a_broken_one_is_gone(directories: Directories, write: Write) -> None:
    real = write("run", "real", GOOD)
    real.with_name("linked.toml").symlink_to(real)
    real.with_name("broken.toml").symlink_to(real.with_name("nowhere"))
    assert [policy.name for policy in load(directories).policies] == ["linked"]


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(directories: Directories, write: Write, mode: int) -> None:
    file = write("etc", "a.toml", GOOD, mode)
    assert (
        refusal(directories) == f"{file}:1:1: can be written by others (mode {mode:04o}); take that away (chmod go-w)"
    )


def test_a_directory_that_others_can_write_is_refused(directories: Directories, write: Write) -> None:
    directory = write("etc", "a.toml", GOOD).parent
    directory.chmod(0o777)
    assert f"{directory}:1:1: can be written by others" in refusal(directories)


def test_a_file_of_somebody_else_is_refused(directories: Directories, write: Write) -> None:
    write("etc", "a.toml", GOOD)
    other = Directories(root=directories.root, uid=directories.uid + 1)
    assert f"belongs to uid {directories.uid}; it must belong to uid {other.uid}" in refusal(other)


def test_what_is_no_regular_file_is_refused_and_does_not_hang(directories: Directories, write: Write) -> None:
    directory = write("etc", "x", "").parent
    os.mkfifo(directory / "fifo.toml")
    (directory / "directory.toml").mkdir()
    (directory / "device.toml").symlink_to("/dev/zero")
    before = len(list(Path("/proc/self/fd").iterdir()))
    text = refusal(directories)
    assert text.count("is not a regular file") == 3
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_name_that_no_terminal_can_show_is_refused(directories: Directories, write: Write) -> None:
    write("etc", "a\n\x1b[31m.toml", GOOD)
    text = refusal(directories)
    assert "rename it" in text
    assert "\x1b" not in text
    assert "\n" not in text


def test_what_is_not_utf_8_is_told_with_its_place(directories: Directories, write: Write) -> None:
    file = write("etc", "a.toml", "")
    file.write_bytes(b"[match]\nname = 'h\xe9'\n")
    assert refusal(directories).startswith(f"{file}:2:10: is not UTF-8 text\n    name = 'h\ufffd'")


def test_a_huge_file_is_refused(directories: Directories, write: Write) -> None:
    write("etc", "a.toml", "#" * (1 << 21))
    assert "longer than 1048576 bytes" in refusal(directories)


def test_every_problem_of_every_file_is_told_at_once(directories: Directories, write: Write) -> None:
    write("etc", "a.toml", BAD)
    write("run", "b.toml", "[limits]\nCPUWeight = 0\n")
    write("usr/lib", "c.toml", GOOD, 0o666)
    write("etc", "../governor.toml", "[governor]\nmod = 1\n")
    with pytest.raises(PolicyError) as caught:
        load(directories)
    files = [Path(problem.position.file).name for problem in caught.value.problems]
    assert sorted(files) == ["a.toml", "b.toml", "b.toml", "c.toml", "governor.toml"]


def test_the_hosts_settings_are_read(directories: Directories, write: Write) -> None:
    write("etc", "../governor.toml", '[governor]\nmode = "observe"\n')
    assert load(directories).settings.mode is Mode.OBSERVE


def test_the_default_directories_are_the_documented_ones() -> None:
    assert [str(path) for path in Directories().watched()] == [
        "/etc/governor/policies.d",
        "/run/governor/policies.d",
        "/usr/lib/governor/policies.d",
        "/etc/governor",
    ]
