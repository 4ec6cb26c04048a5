"""A daemon with the signatures of org.governor1, on a private bus, that keeps what it was asked."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from governor.bus.connection import Bus
from governor.bus.library import Variant
from governor.bus.messages import UNKNOWN_METHOD, Call, Failure, Reply

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "/org/governor1"
HOSTILE = "evil\x1b[31m\nGOVERNOR_POLICY=forged\u202egnp.exe\x07" + "A" * 70_000
WEB, DB = "a" * 63 + "1", "b" * 63 + "2"
TWIN_1, TWIN_2 = "c" * 63 + "1", "c" * 63 + "2"
ROWS = [
    [WEB, "web-1", "docker", f"docker-{WEB}.scope", f"{ROOT}/container/docker_web"],
    [DB, "db", "podman", f"libpod-{DB}.scope", f"{ROOT}/container/podman_db"],
    [TWIN_1, "twin", "docker", f"docker-{TWIN_1}.scope", f"{ROOT}/container/twin1"],
    [TWIN_2, "twin", "podman", f"libpod-{TWIN_2}.scope", f"{ROOT}/container/twin2"],
    ["d" * 64, HOSTILE, "docker", "", f"{ROOT}/container/evil"],
]
GIB = 1 << 30
INFINITY = 2**64 - 1
EXPLANATIONS = [
    {
        "Property": Variant("s", "MemoryHigh"),
        "Value": Variant("t", GIB // 2),
        "Original": Variant("t", INFINITY),
        "Source": Variant("s", "policy:50-web"),
        "Reason": Variant("s", "policy 50-web sets it\x1b[2J"),
        "Since": Variant("t", 1_700_000_000_000_000),
        "Until": Variant("t", 0),
        "State": Variant("s", "held"),
        "Overrides": Variant("as", ["policy:10-all=1G"]),
    },
    {
        "Property": Variant("s", "AllowedCPUs"),
        "Value": Variant("ay", b"\x0f"),
        "Original": Variant("ay", b""),
        "Source": Variant("s", "user:1000"),
        "Reason": Variant("s", ""),
        "Since": Variant("t", 1_700_000_000_000_000),
        "Until": Variant("t", 1_700_000_600_000_000),
    },
]
MANAGER = {
    "Version": Variant("s", "0.1.0"),
    "Mode": Variant("s", "enforce"),
    "NContainers": Variant("u", len(ROWS)),
    "Features": Variant("as", ["psi", "bfq"]),
    "LastTickUSec": Variant("t", 1234),
}
CONTAINER = {
    "Id": Variant("s", WEB),
    "Name": Variant("s", "web-1"),
    "Labels": Variant("a{ss}", {"tier": "front\x1bend"}),
    "Policies": Variant("as", ["50-web"]),
    "Limits": Variant("a{sv}", {"CPUQuotaPerSecUSec": Variant("t", 1_500_000), "MemoryHigh": Variant("t", GIB)}),
    "Originals": Variant("a{sv}", {"CPUQuotaPerSecUSec": Variant("t", INFINITY)}),
}
ANSWERS: dict[str, Reply] = {
    "ListContainers": Reply("a(sssso)", [ROWS]),
    "ListPolicies": Reply("a(sss)", [[["50-web", "/etc/governor/policies.d/50-web.toml", "enforce"]]]),
    "Explain": Reply("aa{sv}", [EXPLANATIONS]),
    "Reload": Reply(),
    "SetLimits": Reply(),
    "Release": Reply(),
    "SetMode": Reply(),
    "Doctor": Reply("a(sbs)", [[["psi", True, "pressure"], ["bpf-lsm", False, "no system call rules"]]]),
}


class BusDaemon:
    """A dbus-daemon of one's own."""

    def __init__(self, directory: Path) -> None:
        config = directory / "bus.conf"
        self.address = f"unix:path={directory}/bus"
        config.write_text(
            f"<busconfig><type>system</type><listen>{self.address}</listen><policy context='default'>"
            "<allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/>"
            "</policy></busconfig>"
        )
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


class FakeService:
    """A name on the bus whose calls are answered by `answer`, in a thread with a loop of its own."""

    def __init__(self, address: str, name: str, path: str) -> None:
        self.calls: list[Call] = []
        self._address, self._name, self._path = address, name, path
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        assert self._ready.wait(10)

    def answer(self, call: Call) -> Reply | Failure:
        return Failure(UNKNOWN_METHOD, call.member)

    def body_of(self, member: str) -> list[Any]:
        """Return what the last call of `member` carried."""
        return [call.body for call in self.calls if call.member == member][-1]

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        bus = await Bus.connect(self._address)
        bus.add_handler(self._path, self._handle)
        await bus.request_name(self._name)
        self._ready.set()
        await self._stop.wait()
        await bus.close()

    async def _handle(self, call: Call) -> Reply | Failure:
        self.calls.append(call)
        return self.answer(call)


class FakeGovernor(FakeService):
    """org.governor1; `failures` says which methods fail and how."""

    def __init__(self, address: str) -> None:
        self.failures: dict[str, Failure] = {}
        super().__init__(address, "org.governor1", ROOT)

    def answer(self, call: Call) -> Reply | Failure:
        if call.member in self.failures:
            return self.failures[call.member]
        if call.member == "GetAll":
            return Reply("a{sv}", [MANAGER if call.path == ROOT else CONTAINER])
        return ANSWERS.get(call.member, Failure(UNKNOWN_METHOD, call.member))


INTROSPECTION = """<node><interface name="org.freedesktop.systemd1.Manager"><method name="StartTransientUnit">
<arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="a(sv)" direction="in"/>
<arg type="a(sa(sv))" direction="in"/><arg type="o" direction="out"/></method></interface></node>"""


class FakeManager(FakeService):
    """org.freedesktop.systemd1, as far as `run` needs it."""

    def __init__(self, address: str) -> None:
        self.failure: Failure | None = None
        super().__init__(address, "org.freedesktop.systemd1", "/org/freedesktop/systemd1")

    def answer(self, call: Call) -> Reply | Failure:
        if call.member == "Introspect":
            return Reply("s", [INTROSPECTION])
        return self.failure or Reply("o", ["/org/freedesktop/systemd1/job/1"])
