"""Recordings of containers that never were."""

from __future__ import annotations

import io
import math
import random
from typing import TYPE_CHECKING

from governor.kernel.host import Host
from governor.model.container import Container, Pod
from governor.model.signal import CONTAINER_SIGNALS, HOST_SIGNALS, Sample, Unit
from governor.model.values import INFINITY
from governor.service.recording import Header, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.values import Value

SEC = 1_000_000
MIB = 1 << 20
GIB = 1 << 30
START_USEC = 5000 * SEC
WALL_USEC = 1_700_000_000 * SEC
HOST = Host(memory_total_bytes=16 * GIB, cpus=tuple(range(8)), tasks_max=32768)
NO_LIMITS: Mapping[str, Value] = {
    "CPUWeight": 100,
    "CPUQuotaPerSecUSec": INFINITY,
    "CPUQuotaPeriodUSec": 100_000,
    "CPUBurstUSec": 0,
    "MemoryMin": 0,
    "MemoryLow": 0,
    "MemoryHigh": INFINITY,
    "MemoryMax": INFINITY,
    "MemorySwapMax": INFINITY,
    "TasksMax": INFINITY,
    "IOWeight": 100,
    "IOReadBandwidthMax": (),
    "AllowedCPUs": (),
}
HOST_VALUES: Mapping[str, float] = {
    "host.cpu.capacity": 8,
    "host.memory.total": 16 * GIB,
    "host.memory.available": 9 * GIB,
    "host.cpu.usage": 2.5,
}


def header(interval_usec: int = SEC) -> Header:
    return Header(
        started_usec=WALL_USEC,
        monotonic_usec=START_USEC,
        interval_usec=interval_usec,
        host=HOST,
        hostname="box",
        users={1000: "ada"},
    )


def container(number: int, name: str = "", **more: object) -> Container:
    identifier = f"{number:064x}"
    return Container(
        runtime="docker",
        namespace="",
        id=identifier,
        name=name or f"web-{number}",
        image="nginx:1.27",
        labels={"tier": "frontend"},
        unit=f"docker-{identifier}.scope",
        slice="system.slice",
        cgroup=f"/system.slice/docker-{identifier}.scope",
        inode=1000 + number,
        **more,  # type: ignore[arg-type]
    )


POD = container(7, "pod", user=1000, pod=Pod(uid="u", qos="burstable", namespace="shop", name="p", container="c"))


class Load:
    """A service with a busy time in the middle: CPU, memory and pressure follow it, with some noise."""

    def __init__(self, seed: int = 1, length: int = 300, quota: float = 2.0) -> None:
        self._random = random.Random(seed)
        self._length = length
        self._quota = quota
        self._pages = 0.0

    def values(self, second: int) -> dict[str, float]:
        """Return the signals of one second."""
        phase = math.sin(math.pi * min(max((second - self._length * 0.2) / (self._length * 0.6), 0), 1))
        wanted = max(0.05, 0.3 + 2.2 * phase + self._random.gauss(0, 0.08))
        usage, short = min(wanted, self._quota), max(0.0, wanted - self._quota)
        self._pages = max(self._pages, 180 * MIB + 700 * MIB * phase)
        used = self._pages + self._random.gauss(0, 2 * MIB)
        pressed = min(1.0, 0.002 + short * 0.4 + abs(self._random.gauss(0, 0.003)))
        return {
            "cpu.usage": usage,
            "cpu.user": usage * 0.8,
            "cpu.system": usage * 0.2,
            "cpu.periods": 10,
            "cpu.throttled_ratio": min(1.0, short * 1.6),
            "memory.current": used,
            "memory.working_set": used * 0.8,
            "memory.anon": used * 0.6,
            "memory.file": used * 0.4,
            "memory.unreclaimable": 20 * MIB,
            "pressure.cpu.some": pressed,
            "pressure.memory.some": 0.001 * phase,
            "pressure.memory.some_avg10": 0.001 * phase,
            "pressure.memory.some_avg60": 0.001 * phase,
            "pressure.io.some": abs(self._random.gauss(0, 0.01)),
            "io.read_bytes": abs(self._random.gauss(3 * MIB, MIB)) * (0.2 + phase),
            "io.write_bytes": abs(self._random.gauss(MIB, MIB / 2)),
            "pids.current": 12,
        }


def every_signal(rng: random.Random, *, busy: bool) -> dict[str, float]:
    """Return all signals of a container with two disks, as a sensor would: noisy where it is busy, else still."""
    found = {}
    for signal in CONTAINER_SIGNALS:
        quiet = not busy and signal.unit is not Unit.CORES
        names = [signal.name, f"{signal.name}@259:0", f"{signal.name}@8:0"] if signal.per_device else [signal.name]
        for name in names:
            found[name] = 0.0 if quiet else _plausible(rng, signal.unit)
    return found


def _plausible(rng: random.Random, unit: Unit) -> float:
    match unit:
        case Unit.BYTES:
            return float(4096 * rng.randrange(1 << 18))
        case Unit.RATIO:
            return rng.choice((0.0, rng.random() / 10))
        case Unit.COUNT:
            return float(rng.choice((0, 0, 0, 3)))
        case _:
            return rng.choice((0.0, rng.expovariate(0.01)))


def recorded(
    loads: Mapping[str, Load] | None = None, seconds: int = 60, limits: Mapping[str, Value] = NO_LIMITS
) -> bytes:
    """Return a recording of one container a load."""
    file = io.BytesIO()
    writer = Writer(file, header())
    chosen = {"web-1": Load(length=seconds)} if loads is None else loads
    made = [(container(number, name), load) for number, (name, load) in enumerate(chosen.items(), 1)]
    for one, _ in made:
        writer.container(one)
        writer.limits(one.inode, limits)
    for second in range(1, seconds + 1):
        now_usec = START_USEC + second * SEC
        samples = {one.inode: Sample(time_usec=now_usec, values=load.values(second)) for one, load in made}
        writer.tick(now_usec, Sample(time_usec=now_usec, values=HOST_VALUES), samples)
    writer.close()
    return file.getvalue()


def size_of(containers: int, ticks: int, *, busy: bool) -> int:
    """Return how many bytes a recording of every signal takes."""
    file, rng = io.BytesIO(), random.Random(1)
    writer = Writer(file, header())
    made = [container(number) for number in range(1, containers + 1)]
    for one in made:
        writer.container(one)
        writer.limits(one.inode, NO_LIMITS)
    host = {signal.name: 1.0 for signal in HOST_SIGNALS}
    for tick in range(1, ticks + 1):
        now_usec = START_USEC + tick * SEC
        samples = {one.inode: Sample(time_usec=now_usec, values=every_signal(rng, busy=busy)) for one in made}
        writer.tick(now_usec, Sample(time_usec=now_usec, values=host), samples)
    writer.close()
    return len(file.getvalue())
