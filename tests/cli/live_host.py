"""A host with containers that a test makes up: a tree of cgroup files, and a daemon that knows the containers in it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from governor.bus.connection import Bus
from governor.bus.library import Variant
from governor.bus.messages import Call, Failure, Reply
from tests.cli.fake_governor import EXPLANATIONS, ROOT, FakeGovernor

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
RUN = (
    "import sys; from governor.kernel.cgroup import CgroupRoot;"
    "CgroupRoot.find = classmethod(lambda cls, path='': cls({tree!r}));"
    "from governor.cli.main import main; sys.exit(main({arguments!r}))"
)
"""A program that is governorctl, on a tree of the test's."""
STAT = (
    "usage_usec {usage}\nuser_usec {usage}\nsystem_usec 0\n"
    "nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 0\n"
)
MEMORY_STAT = "anon {anon}\nfile 4096\ninactive_file 4096\npgscan 0\npgsteal 0\n"


class Tree:
    """Cgroups of containers, as files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._used: dict[str, int] = {}

    def directory(self, number: int) -> Path:
        return self.path / "system.slice" / f"docker-{number:064x}.scope"

    def make(self, number: int, memory: int = 100 * MIB) -> None:
        """Make the cgroup of a container, or change what it says."""
        directory = self.directory(number)
        directory.mkdir(parents=True, exist_ok=True)
        self.work(number, 0)
        files = {
            "cgroup.procs": "1\n",
            "cpu.weight": "100\n",
            "cpu.max": "200000 100000\n",
            "memory.current": f"{memory}\n",
            "memory.stat": MEMORY_STAT.format(anon=memory),
            "memory.high": f"{512 * MIB}\n",
            "memory.max": "max\n",
            "pids.current": "3\n",
            "io.stat": "",
            **{
                f"{resource}.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
                for resource in ("memory", "io")
            },
        }
        for name, text in files.items():
            (directory / name).write_text(text)

    def work(self, number: int, usec: int) -> None:
        """Let a container use CPU time, a tenth of its periods being throttled."""
        key = str(number)
        used = self._used[key] = self._used.get(key, 0) + usec
        directory = self.directory(number)
        periods = used // 1000
        (directory / "cpu.stat").write_text(STAT.format(usage=used, periods=periods, throttled=periods // 10))
        total = f"some avg10=1.00 avg60=1.00 avg300=1.00 total={used // 4}\n"
        (directory / "cpu.pressure").write_text(total)


class FakeLive(FakeGovernor):
    """A daemon whose containers lie in a tree; `names` may be changed by the test."""

    def __init__(self, address: str) -> None:
        self.names: dict[int, str] = {}
        self.bus: Bus | None = None
        super().__init__(address)

    def tell(self, member: str) -> None:
        """Send a signal of the manager."""
        assert self.bus is not None
        body = ["x", "/org/governor1/container/x"]
        self._loop.call_soon_threadsafe(self.bus.emit, ROOT, "org.governor1.Manager", member, "so", body)

    async def _serve(self) -> None:
        self.bus = await Bus.connect(self._address)
        self.bus.add_handler(self._path, self._handle)
        await self.bus.request_name(self._name)
        self._ready.set()
        await self._stop.wait()
        await self.bus.close()

    def answer(self, call: Call) -> Reply | Failure:
        if call.member in self.failures:
            return self.failures[call.member]
        if call.member == "GetManagedObjects":
            return Reply("a{oa{sa{sv}}}", [{_path(n): _interfaces(n, name) for n, name in self.names.items()}])
        if call.member == "Explain":
            return Reply("aa{sv}", [EXPLANATIONS[:1]])
        return super().answer(call)


def _path(number: int) -> str:
    return f"/org/governor1/container/c{number}"


def _interfaces(number: int, name: str) -> dict[str, Any]:
    identifier = f"{number:064x}"
    properties = {
        "Id": Variant("s", identifier),
        "Name": Variant("s", name),
        "Runtime": Variant("s", "docker"),
        "Unit": Variant("s", f"docker-{identifier}.scope"),
        "CGroup": Variant("s", f"/system.slice/docker-{identifier}.scope"),
        "Image": Variant("s", "nginx"),
        "Labels": Variant("a{ss}", {"tier": "frontend"}),
        "Policies": Variant("as", ["50-web"]),
        "Limits": Variant("a{sv}", {"MemoryHigh": Variant("t", 512 * MIB)}),
        "Originals": Variant("a{sv}", {"MemoryHigh": Variant("t", 2**64 - 1)}),
    }
    return {"org.freedesktop.DBus.Peer": {}, "org.governor1.Container": properties}


def command(tree: Tree, *arguments: str) -> list[str]:
    """Return the command line of governorctl on `tree`."""
    return [sys.executable, "-c", RUN.format(tree=str(tree.path), arguments=list(arguments))]


def wait_for(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
