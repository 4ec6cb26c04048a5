"""Limits on a cgroup of files: written under a lease, yielded, restored, across crashes of the process."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from governor.actuators.apply import Circumstances, Want
from governor.actuators.ledger import Entry, Ledger
from governor.model.errors import ActuationError, Gone
from governor.model.lease import Hold, Lease, Target, TargetKind
from governor.model.policy import Setting
from governor.model.tick import Outcome
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from governor.actuators.apply import Result
    from governor.model.values import Value
    from tests.actuators.conftest import Tree


def wants(values: Mapping[str, Value]) -> dict[str, Want]:
    return {
        name: Want(value=value, setting=Setting(value=value, source="policy:a", reason="test"))
        for name, value in values.items()
    }


async def apply(tree: Tree, values: Mapping[str, Value], circumstances: Circumstances | None = None) -> list[Result]:
    return await tree.applier.apply(tree.site, tree.writer, wants(values), circumstances or Circumstances())


async def test_limits_arrive_in_the_files_and_their_originals_in_the_ledger(tree: Tree) -> None:
    results = await apply(tree, {"CPUQuotaPerSecUSec": 500_000, "TasksMax": 77, "MemorySwapMax": 0})
    assert {result.outcome for result in results} == {Outcome.APPLIED}
    assert tree.value("cpu.max") == "50000 100000"
    assert tree.value("pids.max") == "77"
    assert tree.value("memory.swap.max") == "0"
    leases = tree.ledger.get(tree.site.target).leases
    assert {name: lease.original for name, lease in leases.items()} == {
        "CPUQuotaPerSecUSec": INFINITY,
        "TasksMax": INFINITY,
        "MemorySwapMax": INFINITY,
    }
    assert await apply(tree, {"CPUQuotaPerSecUSec": 500_000, "TasksMax": 77, "MemorySwapMax": 0}) == []


async def test_nothing_wanted_restores_everything_and_leaves_no_ledger_file(tree: Tree, tmp_path: Path) -> None:
    tree.put("cpu.max", "30000 50000")
    await apply(tree, {"CPUQuotaPerSecUSec": 200_000, "TasksMax": 5})
    assert list((tmp_path / "ledger").iterdir()) != []
    results = await apply(tree, {})
    assert {result.outcome for result in results} == {Outcome.RESTORED}
    assert tree.value("cpu.max") == "30000 50000"
    assert tree.value("pids.max") == "max"
    assert list((tmp_path / "ledger").iterdir()) == []


async def test_one_limit_less_restores_only_that_one(tree: Tree) -> None:
    await apply(tree, {"TasksMax": 5, "MemorySwapMax": 0})
    await apply(tree, {"TasksMax": 5})
    assert (tree.value("pids.max"), tree.value("memory.swap.max")) == ("5", "max")
    assert set(tree.ledger.get(tree.site.target).leases) == {"TasksMax"}


async def test_somebody_elses_value_is_yielded_to_and_survives_the_stop(tree: Tree) -> None:
    await apply(tree, {"TasksMax": 5})
    tree.put("pids.max", "42")
    [result] = await apply(tree, {"TasksMax": 5})
    assert (result.outcome, result.new) == (Outcome.YIELDED, 42)
    assert tree.ledger.get(tree.site.target).leases["TasksMax"].hold is Hold.YIELDED
    assert await apply(tree, {"TasksMax": 5}) == []
    await apply(tree, {})
    assert tree.value("pids.max") == "42"


async def test_a_new_process_adopts_what_the_old_one_wrote(tree: Tree, tmp_path: Path) -> None:
    await apply(tree, {"TasksMax": 5})
    anew = Ledger(tmp_path / "ledger")
    anew.load()
    assert list(anew.entries()) == list(tree.ledger.entries())


async def test_memory_is_not_lowered_below_usage(tree: Tree) -> None:
    tree.put("memory.current", str(100 * 2**20))
    results = await apply(tree, {"MemoryHigh": 50 * 2**20, "MemoryMax": 60 * 2**20})
    assert {result.outcome for result in results} == {Outcome.CONVERGING}
    assert int(tree.value("memory.high")) >= 100 * 2**20
    assert int(tree.value("memory.max")) >= 105 * 2**20
    tree.put("memory.current", str(10 * 2**20))
    await apply(tree, {"MemoryHigh": 50 * 2**20, "MemoryMax": 60 * 2**20})
    assert int(tree.value("memory.high")) == 50 * 2**20
    assert int(tree.value("memory.max")) == 60 * 2**20
    await apply(tree, {})
    assert (tree.value("memory.high"), tree.value("memory.max")) == ("max", "max")


async def test_an_original_maximum_below_usage_is_approached_and_kills_nothing(tree: Tree) -> None:
    tree.put("memory.max", str(50 * 2**20))
    await apply(tree, {"MemoryMax": 500 * 2**20})
    tree.put("memory.current", str(400 * 2**20))
    [result] = await apply(tree, {}, Circumstances(patience_sec=0.2))
    assert result.outcome is Outcome.CONVERGING
    assert int(tree.value("memory.max")) >= 420 * 2**20
    assert tree.ledger.get(tree.site.target).leases["MemoryMax"].original == 50 * 2**20


async def test_a_cgroup_that_is_gone_is_gone(tree: Tree) -> None:
    for file in tree.directory.iterdir():
        file.unlink()
    tree.directory.rmdir()
    with pytest.raises(Gone):
        await apply(tree, {"TasksMax": 5})


async def test_without_a_ledger_nothing_is_written(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "ledger").rmdir()
    (tmp_path / "ledger").write_text("in the way")
    with pytest.raises(ActuationError, match="ledger"):
        await apply(tree, {"TasksMax": 5})
    assert tree.value("pids.max") == "max"


async def test_two_applications_at_once_do_not_mix(tree: Tree) -> None:
    await asyncio.gather(*(apply(tree, {"TasksMax": number}) for number in range(1, 20)))
    assert tree.ledger.get(tree.site.target).leases["TasksMax"].original == INFINITY
    await apply(tree, {})
    assert tree.value("pids.max") == "max"


def lease(**changes: Value) -> Lease:
    values: dict[str, Value] = {"original": (("8:0", 1),), "restores": ("a",), "intended": True, **changes}
    return Lease(property="IOReadBandwidthMax", applied=None, owner="policy:a", reason="ü\n", since_usec=1, **values)  # type: ignore[arg-type]


def test_the_ledger_gives_back_exactly_what_it_was_given(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.load()
    target = Target(
        kind=TargetKind.TRANSIENT_UNIT,
        unit="a\udcffb.scope",
        invocation="f" * 32,
        cgroup="/a\udcffb.scope",
        inode=2**60,
    )
    entry = Entry(target=target, leases={"IOReadBandwidthMax": lease()}, drop_ins={"CPUWeight": "[Scope]\n"})
    ledger.put(entry)
    anew = Ledger(tmp_path / "l")
    anew.load()
    assert anew.get(target) == entry


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2}', '{"format": 1, "target": {}}'])
def test_a_damaged_entry_is_set_aside_and_the_others_stand(tmp_path: Path, text: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.load()
    good = Entry(target=Target(kind=TargetKind.FILE, cgroup="/x", inode=5), leases={"IOReadBandwidthMax": lease()})
    ledger.put(good)
    (tmp_path / "0bad.json").write_text(text)
    anew = Ledger(tmp_path)
    anew.load()
    assert list(anew.entries()) == [good]
    assert len(anew.damaged) == 1
    assert (tmp_path / "0bad.bad").read_text() == text


def test_only_root_may_read_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.load()
    assert (tmp_path / "l").stat().st_mode & 0o777 == 0o700


def test_the_ledger_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.load()
    ledger.put(Entry(target=Target(kind=TargetKind.FILE, cgroup="/x", inode=5), leases={"IOReadBandwidthMax": lease()}))
    [path] = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["leases"][0]["original"] == [["8:0", 1]]
