"""A cgroup of ordinary files: what reads and writes them is the real code, only the kernel behind them is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from governor.actuators.apply import Applier
from governor.actuators.drop_ins import DropIns
from governor.actuators.ledger import Ledger
from governor.actuators.room import Room
from governor.actuators.sites import file_target
from governor.actuators.writers import FileWriter, Site
from governor.kernel.cgroup import Cgroup, CgroupRoot
from governor.kernel.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from governor.bus.systemd import Systemd

FILES = {
    "cgroup.procs": "",
    "cgroup.events": "populated 1\nfrozen 0\n",
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpu.weight": "100\n",
    "memory.current": "104857600\n",
    "memory.min": "0\n",
    "memory.low": "0\n",
    "memory.high": "max\n",
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.reclaim": "",
    "pids.max": "max\n",
    "io.max": "",
}


@dataclass
class Tree:
    """One cgroup of files, a ledger beside it, and what writes there."""

    root: CgroupRoot
    directory: Path
    cgroup: Cgroup
    host: Host
    ledger: Ledger
    applier: Applier
    writer: FileWriter
    site: Site

    def value(self, file: str) -> str:
        return (self.directory / file).read_text().strip()

    def put(self, file: str, text: str) -> None:
        (self.directory / file).write_text(f"{text}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    directory = tmp_path / "cgroup" / "default" / "x"
    directory.mkdir(parents=True)
    for name, text in FILES.items():
        (directory / name).write_text(text)
    root = CgroupRoot(str(tmp_path / "cgroup"))
    cgroup = root.open("/default/x")
    host = Host(memory_total_bytes=2**33, cpus=(0, 1), tasks_max=1000)
    ledger = Ledger(tmp_path / "ledger")
    ledger.load()
    room = Room()
    # drop-ins are for units; a cgroup without one never gets that far
    applier = Applier(ledger, room, DropIns(cast("Systemd", None), host, tmp_path))
    site = Site(file_target("/default/x", cgroup.inode), cgroup)
    yield Tree(root, directory, cgroup, host, ledger, applier, FileWriter(host), site)
    room.close()
    cgroup.close()
    root.close()
