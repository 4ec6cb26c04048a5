"""Which containers there are, on a tree of directories: signals hint, the tree decides, the inode identifies."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from governor.kernel.cgroup import CgroupRoot
from governor.model.errors import Unsupported
from governor.runtimes import Places
from governor.service.discovery import Discovery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from governor.bus.systemd import Systemd
    from governor.model.container import Container

ID = "ab" * 32
OTHER = "cd" * 32
INVOCATION = "0123456789abcdef" * 2


class World:
    """A tree of cgroups, and all that discovery has told about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[tuple[Container | None, Container | None]] = []
        self.relevant: set[str] = set()
        self.discovery = Discovery(
            CgroupRoot(str(root)),
            self.manager,
            lambda path: path.rpartition("/")[2] in self.relevant,
            lambda before, after: self.told.append((before, after)),
            {},
            Places(run=str(root.parent / "run"), var_lib=str(root.parent / "lib"), cgroup=str(root)),
        )

    async def manager(self, uid: int | None) -> Systemd:
        raise Unsupported(f"no manager of {uid} here")

    def make(self, path: str, invocation: str = "") -> Path:
        directory = self.root / path.lstrip("/")
        directory.mkdir(parents=True)
        (directory / "cgroup.procs").touch()
        if invocation:
            os.setxattr(directory, "trusted.invocation_id", invocation.encode())
        return directory

    def known(self) -> dict[str, Container]:
        return {container.cgroup: container for container in self.discovery.containers()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "cgroup/system.slice").mkdir(parents=True)
    (tmp_path / "cgroup/machine.slice").mkdir()
    made = World(tmp_path / "cgroup")
    yield made
    await made.discovery.close()


async def test_a_scan_finds_containers_and_drops_what_is_gone(world: World) -> None:
    world.make(f"/system.slice/docker-{ID}.scope", INVOCATION)
    gone = world.make(f"/machine.slice/libpod-{OTHER}.scope", INVOCATION)
    world.make(f"/machine.slice/libpod-conmon-{OTHER}.scope", INVOCATION)
    world.make("/system.slice/cron.service", INVOCATION)
    await world.discovery.scan()
    found = world.known()
    assert {(c.runtime, c.id) for c in found.values()} == {("docker", ID), ("podman", OTHER)}
    docker = found[f"/system.slice/docker-{ID}.scope"]
    assert (docker.unit, docker.invocation, docker.transient) == (f"docker-{ID}.scope", INVOCATION, True)
    assert (docker.slice, docker.user) == ("system.slice", None)
    (gone / "cgroup.procs").unlink()
    gone.rmdir()
    await world.discovery.scan()
    assert {c.runtime for c in world.known().values()} == {"docker"}
    assert [before.runtime for before, after in world.told if before is not None and after is None] == ["podman"]


async def test_the_same_path_with_another_inode_is_another_container(world: World) -> None:
    path = f"/system.slice/docker-{ID}.scope"
    first = world.make(path, INVOCATION)
    await world.discovery.scan()
    before = world.known()[path].inode
    first.rename(world.root / "kept-so-that-its-inode-is-not-given-again")
    world.make(path, INVOCATION[::-1])
    await world.discovery.scan()
    assert world.known()[path].inode != before
    assert world.known()[path].invocation == INVOCATION[::-1]


async def test_a_signal_finds_the_unit_without_a_walk(world: World) -> None:
    await world.discovery.scan()
    world.make(f"/system.slice/docker-{ID}.scope", INVOCATION)
    world.discovery.unit_seen(f"docker-{ID}.scope", settled=False)
    await until(lambda: bool(world.known()))


async def test_a_signal_for_an_unknown_place_leads_to_a_walk(world: World) -> None:
    await world.discovery.scan()
    world.make(f"/a.slice/a-b.slice/docker-{ID}.scope", INVOCATION)
    world.discovery.unit_seen(f"docker-{ID}.scope", settled=True)
    await until(lambda: bool(world.known()))


async def test_a_removed_unit_is_dropped_only_if_its_cgroup_is_gone(world: World) -> None:
    directory = world.make(f"/system.slice/docker-{ID}.scope", INVOCATION)
    await world.discovery.scan()
    world.discovery.unit_removed(f"docker-{ID}.scope")
    assert world.known()
    (directory / "cgroup.procs").unlink()
    directory.rmdir()
    world.discovery.unit_removed(f"docker-{ID}.scope")
    assert not world.known()


async def test_a_container_is_told_once_however_many_signals_come(world: World) -> None:
    world.make(f"/system.slice/docker-{ID}.scope", INVOCATION)
    for _ in range(20):
        world.discovery.unit_seen(f"docker-{ID}.scope", settled=True)
    await world.discovery.scan()
    await until(lambda: bool(world.known()))
    assert [after.id for before, after in world.told if before is None and after is not None] == [ID]


async def test_plain_units_count_only_where_a_policy_is_about_them(world: World) -> None:
    world.make("/system.slice/app.scope", INVOCATION)
    world.make("/system.slice/other.scope", INVOCATION)
    world.relevant = {"app.scope"}
    await world.discovery.scan()
    assert [(c.runtime, c.name) for c in world.known().values()] == [("systemd", "app.scope")]


async def test_what_a_container_makes_beneath_itself_is_not_looked_at(world: World) -> None:
    world.make(f"/system.slice/docker-{ID}.scope/system.slice/docker-{OTHER}.scope", INVOCATION)
    world.make(f"/system.slice/docker-{ID}.scope/machine.slice/libpod-{OTHER}.scope")
    await world.discovery.scan()
    assert {c.id for c in world.known().values()} == {ID}


async def test_a_scope_beneath_a_users_manager_belongs_to_the_user(world: World) -> None:
    path = f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope"
    world.make(path, INVOCATION)
    await world.discovery.scan()
    container = world.known()[path]
    assert (container.user, container.namespace) == (1000, "1000")
    # its manager cannot be reached: it has a unit all the same, so that nobody writes its files instead
    assert (container.unit, container.invocation) == (f"docker-{ID}.scope", "")


async def test_the_nested_cgroup_is_found_when_it_comes(world: World) -> None:
    path = f"/machine.slice/libpod-{ID}.scope"
    world.make(path, INVOCATION)
    await world.discovery.scan()
    assert world.known()[path].payload == ""
    world.make(f"{path}/container")
    world.discovery.look_again(world.known()[path].inode)
    assert world.known()[path].payload == f"{path}/container"


async def until(condition: object) -> None:
    assert callable(condition)
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 2 s")
