"""What may be done about contention: nothing, static settings, systemd-oomd, governor. All are taken back again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks import guests
from benchmarks.contention.stage import CPU, IO, KINDS, MEMORY, RATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contention.stage import Stage

SOLO, ALONE = "solo", "batch alone"
NOTHING, WEIGHTS, QUOTA, TUNED, OOMD, GOVERNOR = "nothing", "weights", "quota 50%", "tuned", "oomd", "governor"

POLICIES: Final = {
    "50-service": """
[match]
name = "service"

[limits]
MemoryMin = "96M"              # what it works with

[control.io-pressure]
role = "protect"
""",
    "50-batch": """
[match]
name = "batch"

[control.headroom]

[control.io-pressure]
role = "yield"
""",
}
"""The same for every antagonist."""
STATIC: Final = {
    WEIGHTS: ("CPUWeight=100 IOWeight=100", "CPUWeight=1 IOWeight=1"),
    QUOTA: ("", "CPUQuota=50%"),
    OOMD: ("", "ManagedOOMMemoryPressure=kill"),
}
"""Properties of the service and of the batch container."""
BY_HAND: Final = {
    CPU: ("CPUWeight=10000", "CPUWeight=idle"),
    MEMORY: ("MemoryMin=96M", "MemoryHigh=600M"),
    IO: ("", "IOWriteBandwidthMax='/dev/block/254:16 8M'"),
}
"""The best that was found by hand, another one for each antagonist."""
RESET: Final = (
    "CPUWeight= IOWeight= CPUQuota= MemoryMin=0 MemoryHigh=infinity IOWriteBandwidthMax= ManagedOOMMemoryPressure=auto"
)
SCHEDULER: Final = "/sys/block/vdb/queue/scheduler"
LEARN_SEC: Final = 10
"""How long governor sees the service alone before the antagonist comes."""
WARM_UP_SEC: Final = {SOLO: 4, ALONE: 5, GOVERNOR: 40, OOMD: 45}
"""Until a way has come to rest: systemd-oomd kills after 30 s of pressure, governor searches. Others: 5 s."""
FILL_SEC: Final = 10
"""More of it for the antagonist of memory, which first has to fill it."""


def ways(antagonist: str) -> tuple[str, ...]:
    """Return the ways that say anything about an antagonist: systemd-oomd acts on memory only."""
    every = (SOLO, NOTHING, WEIGHTS, GOVERNOR, ALONE, QUOTA, TUNED)
    return (*every, OOMD) if antagonist == MEMORY else every


def warm_up(way: str, antagonist: str) -> int:
    """Return for how many seconds both run before they are measured."""
    return WARM_UP_SEC.get(way, 5) + (FILL_SEC if antagonist == MEMORY and way != SOLO else 0)


@contextmanager
def under(stage: Stage, way: str, antagonist: str) -> Iterator[None]:
    """Have `way` in force, with both at work, until the end."""
    stage.prepare(antagonist)
    if way == GOVERNOR:
        _policies(stage)
    elif way not in {SOLO, ALONE, NOTHING}:
        _static(stage, way, antagonist)
    try:
        stage.set(rate=0 if way == ALONE else RATE)
        if way == GOVERNOR:
            stage.made.guest.run("sleep", str(LEARN_SEC))
        stage.set(kind=0 if way == SOLO else KINDS[antagonist])
        yield
    finally:
        stage.rest()
        _take_back(stage, way)


def _policies(stage: Stage) -> None:
    stage.made.guest.sh(f"journalctl --no-pager -u governor --cursor-file={guests.CURSOR} >/dev/null", check=False)
    for name, text in POLICIES.items():
        stage.made.policy(name, text)
    news = f"journalctl --no-pager -u governor --cursor-file={guests.CURSOR} | grep -q 'policies in force'"
    stage.made.guest.wait_until(news, timeout=60)


def _static(stage: Stage, way: str, antagonist: str) -> None:
    if way == WEIGHTS:
        stage.made.guest.sh(f"modprobe bfq; echo bfq >{SCHEDULER}")
    if way == OOMD:
        stage.made.guest.run("systemctl", "start", "systemd-oomd", timeout=120)
    for container, properties in zip(
        (stage.service, stage.batch), BY_HAND[antagonist] if way == TUNED else STATIC[way], strict=True
    ):
        if properties:
            stage.made.guest.sh(f"systemctl set-property --runtime {container.unit} {properties}")


def _take_back(stage: Stage, way: str) -> None:
    if way == GOVERNOR:
        for name in POLICIES:
            stage.made.no_policy(name)
        stage.made.guest.wait_until('[ -z "$(ls -A /run/governor/ledger 2>/dev/null)" ]', timeout=90)
        return
    stage.made.guest.sh(f"echo none >{SCHEDULER}; systemctl stop systemd-oomd systemd-oomd.socket", check=False)
    stage.made.guest.run("docker", "start", "batch", timeout=120)
    for container in (stage.service, stage.batch):
        if way not in {SOLO, ALONE, NOTHING}:
            stage.made.guest.sh(f"systemctl set-property --runtime {container.unit} {RESET}")
