"""The heart of the daemon on a cgroup of files: policies come and go, people set limits, time passes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from governor.actuators.apply import Applier
from governor.actuators.devices import Devices
from governor.actuators.drop_ins import DropIns
from governor.actuators.enforce import Enforcer
from governor.actuators.ledger import Ledger
from governor.actuators.observe import Observer
from governor.actuators.room import Room
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.host import Host
from governor.model.container import Container
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.policy import HostSettings, Mode
from governor.model.tick import Outcome, Tick
from governor.policy.load import PolicySet
from governor.policy.parse import parse_policy
from governor.service.governor import Governor
from governor.service.neighbours import NEIGHBOURS, Neighbours
from governor.service.wants import Wants

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from governor.bus.systemd import Systemd

FILES = {
    "cgroup.procs": "1\n",
    "cgroup.events": "populated 1\n",
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpu.weight": "100\n",
    "memory.current": "1048576\n",
    "memory.high": "max\n",
    "memory.max": "max\n",
    "memory.reclaim": "",
    "pids.max": "300\n",
}
MATCH = '[match]\nname = "x"\n'


def policies(*texts: str, mode: Mode = Mode.ENFORCE, protected: tuple[str, ...] = ()) -> PolicySet:
    return PolicySet(
        policies=tuple(
            parse_policy(text, name=f"{number}0", file=f"{number}0.toml", default_mode=Mode.ENFORCE)
            for number, text in enumerate(texts, start=1)
        ),
        settings=HostSettings(mode=mode, protected=protected),
    )


async def no_manager(uid: int | None) -> Systemd:
    raise AssertionError(f"a cgroup without a unit asked for the manager of {uid}")


class World:
    """A governor over one directory of files, and all that it has told."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "cgroup/default/x"
        self.directory.mkdir(parents=True)
        for name, text in FILES.items():
            (self.directory / name).write_text(text)
        self.tmp_path = tmp_path
        self.root = CgroupRoot(str(tmp_path / "cgroup"))
        self.host = Host(memory_total_bytes=2**33, cpus=(0, 1), tasks_max=1000)
        self.room = Room()
        self.neighbours = Neighbours(cast("Systemd", None))
        self.ticks: list[Tick] = []
        with self.root.open("/default/x") as cgroup:
            self.container = Container(
                runtime="containerd", namespace="default", id="x", name="x", cgroup="/default/x", inode=cgroup.inode
            )
        self.start(PolicySet())

    def start(self, found: PolicySet) -> None:
        """Begin anew, as another process with the same ledger."""
        ledger = Ledger(self.tmp_path / "ledger")
        ledger.load()
        self.ledger = ledger
        applier = Applier(ledger, self.room, DropIns(cast("Systemd", None), self.host, self.tmp_path))
        enforcer = Enforcer(
            root=self.root,
            host=self.host,
            ledger=ledger,
            applier=applier,
            manager=no_manager,
            guard=Devices(),
        )
        observer = Observer(self.host, lambda what: enforcer.hold(what).scope)
        self.governor = Governor(Wants(found), enforcer, observer, self.neighbours, "/system.slice/governor.service")
        self.governor.subscribe(self.ticks.append)

    async def come(self) -> None:
        self.governor.container_changed(None, self.container)
        await self.governor.quiet()

    async def use(self, *texts: str, mode: Mode = Mode.ENFORCE, protected: tuple[str, ...] = ()) -> None:
        self.governor.use(policies(*texts, mode=mode, protected=protected))
        await self.governor.quiet()

    async def tick(self) -> None:
        await self.governor.tick()
        await self.governor.quiet()

    def value(self, file: str) -> str:
        return (self.directory / file).read_text().strip()

    def outcomes(self, name: str) -> list[Outcome]:
        return [change.outcome for tick in self.ticks for change in tick.changes if change.property == name]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.room.close()


async def test_a_policy_comes_changes_and_goes(world: World) -> None:
    await world.come()
    assert world.ticks[0].added == (world.container,)
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    assert world.value("pids.max") == "7"
    assert world.governor.limits_of(world.container) == {"TasksMax": 7}
    assert world.governor.originals_of(world.container) == {"TasksMax": 300}
    await world.use(f'{MATCH}[limits]\nTasksMax = 8\nMemoryHigh = "64M"\n')
    assert (world.value("pids.max"), world.value("memory.high")) == ("8", str(64 << 20))
    await world.use()
    assert (world.value("pids.max"), world.value("memory.high")) == ("300", "max")
    assert world.governor.explain(world.container) == []
    assert world.outcomes("TasksMax") == [Outcome.APPLIED, Outcome.APPLIED, Outcome.RESTORED]


async def test_two_policies_merge_and_the_loser_is_named(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\nCPUWeight = 50\n", f"{MATCH}[limits]\nTasksMax = 9\n")
    assert (world.value("pids.max"), world.value("cpu.weight")) == ("9", "50")
    explained = {one.property: one for one in world.governor.explain(world.container)}
    assert explained["TasksMax"].source == "policy:20"
    assert explained["TasksMax"].overrides == ("policy:10=7",)
    assert explained["CPUWeight"].source == "policy:10"


async def test_a_set_that_conflicts_when_merged_leaves_the_previous_one(world: World) -> None:
    await world.come()
    await world.use(f'{MATCH}[limits]\nMemoryHigh = "64M"\n')
    await world.use(f'{MATCH}[limits]\nMemoryHigh = "64M"\n', f'{MATCH}[limits]\nMemoryMax = "32M"\n')
    assert (world.value("memory.high"), world.value("memory.max")) == (str(64 << 20), "max")


async def test_somebody_elses_change_is_noticed_by_the_tick_and_respected(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    (world.directory / "pids.max").write_text("99\n")
    await world.tick()
    assert world.outcomes("TasksMax")[-1] is Outcome.YIELDED
    await world.tick()
    assert world.value("pids.max") == "99"
    [explained] = world.governor.explain(world.container)
    assert explained.state == "yielded"
    await world.governor.release(world.container)
    assert world.value("pids.max") == "7"


async def test_what_a_daemon_reload_brought_back_is_written_again(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    (world.directory / "pids.max").write_text("300\n")
    world.governor.systemd_applied_again()
    await world.governor.quiet()
    assert world.value("pids.max") == "7"
    assert Outcome.YIELDED not in world.outcomes("TasksMax")


async def test_set_by_hand_wins_and_ends_with_its_time(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    await world.governor.set_limits(world.container, {"TasksMax": 20}, 300_000, 1000)
    assert world.value("pids.max") == "20"
    [explained] = world.governor.explain(world.container)
    assert (explained.source, explained.overrides) == ("user:1000", ("policy:10",))
    await asyncio.sleep(0.35)
    await world.tick()
    assert world.value("pids.max") == "7"


async def test_what_was_set_by_hand_outlives_the_process(world: World) -> None:
    await world.come()
    await world.governor.set_limits(world.container, {"TasksMax": 20}, 0, 0)
    await world.governor.close()
    world.start(PolicySet())
    await world.come()
    assert world.value("pids.max") == "20"
    await world.governor.release(world.container)
    assert world.value("pids.max") == "300"


async def test_observing_changes_nothing_and_takes_back_what_was_enforced(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    await world.governor.set_mode(Mode.OBSERVE)
    await world.governor.quiet()
    assert world.value("pids.max") == "300"
    assert world.governor.explain(world.container)[0].state == "observed"
    with pytest.raises(Unsupported, match="observe"):
        await world.governor.set_limits(world.container, {"TasksMax": 5}, 0, 0)
    await world.governor.set_mode(Mode.ENFORCE)
    await world.governor.quiet()
    assert world.value("pids.max") == "7"


async def test_a_protected_container_is_refused_in_words(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n", protected=("/default/*",))
    assert world.value("pids.max") == "300"
    assert world.outcomes("TasksMax") == [Outcome.REFUSED]
    assert "protected" in world.governor.explain(world.container)[0].state


async def test_another_daemons_property_is_left_to_it(world: World) -> None:
    world.neighbours.active = tuple(n for n in NEIGHBOURS if n.name == "TuneD")
    (world.directory / "cpuset.cpus").write_text("\n")
    await world.come()
    await world.use(f'{MATCH}[limits]\nAllowedCPUs = "0"\nTasksMax = 7\n')
    assert (world.value("cpuset.cpus"), world.value("pids.max")) == ("", "7")
    assert "TuneD" in world.governor.explain(world.container)[0].state


async def test_a_container_that_ends_is_told_and_forgotten(world: World) -> None:
    await world.come()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    world.governor.container_changed(world.container, None)
    assert world.ticks[-1].removed == (world.container,)
    assert world.governor.containers() == ()
    with pytest.raises(Gone):
        await world.governor.set_limits(world.container, {"TasksMax": 5}, 0, 0)
    await world.tick()


async def test_a_limit_that_cannot_be_written_is_reported_to_who_asked(world: World) -> None:
    await world.come()
    with pytest.raises(ActuationError, match="no systemd unit"):
        await world.governor.set_limits(world.container, {"IPAccounting": True}, 0, 0)
    assert world.governor.explain(world.container) == []


async def test_a_failed_write_is_tried_again(world: World) -> None:
    await world.come()
    (world.directory / "pids.max").unlink()
    (world.directory / "pids.max").mkdir()
    await world.use(f"{MATCH}[limits]\nTasksMax = 7\n")
    (world.directory / "pids.max").rmdir()
    (world.directory / "pids.max").write_text("300\n")
    world.governor.look_at(world.container)
    await world.governor.quiet()
    assert world.value("pids.max") == "7"
