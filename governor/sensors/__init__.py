"""Sensors: kernel counters in, named signals out. One file a subject; each is listed here.

Only files that serve a wanted signal are opened and read; of a file only the wanted fields are parsed, and nothing
where its text is what it was. Counters are kept between samples here; deriving signals of them is pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from governor.kernel.files import Files
from governor.model.errors import Gone
from governor.model.signal import Sample
from governor.model.values import USEC_PER_SEC
from governor.sensors import cpu, host, io, memory, pids, pressure

if TYPE_CHECKING:
    from governor.kernel.cgroup import Cgroup
    from governor.sensors.source import Sensor, Source

CONTAINER_SENSORS: Final[tuple[Sensor, ...]] = (cpu, memory, io, pids, pressure)
HOST_SENSORS: Final[tuple[Sensor, ...]] = (host,)

HOST: Final = 0
"""The inode that stands for the host: no cgroup has it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read for one set of wanted signals."""

    files: tuple[str, ...]
    sources: tuple[Source, ...]
    working_set: bool


@dataclass(slots=True)
class _Past:
    """What one stream saw last: the texts, so that equal ones need no parsing, and their counters."""

    time_usec: int
    plan: Plan
    texts: list[bytes | None]
    counters: list[Any]


@dataclass(slots=True)
class _Held:
    """The open files of one cgroup, or of /proc, and the past of each stream that reads them."""

    files: Files
    pasts: dict[str, _Past] = field(default_factory=dict)


class Sensors:
    """Samples containers and the host. Belongs to the event loop, but for prepare().

    Two streams of the same container (a tick of 1 s and a loop of 100 ms) have a past each, so that rates are over
    their own interval. Reading does not block: kernfs answers from memory, 1 to 3 µs a file.
    """

    def __init__(self, proc_root: str = "/proc") -> None:
        self._proc_root = proc_root
        self._held: dict[int, _Held] = {}

    def sample(self, cgroup: Cgroup, wanted: frozenset[str], now_usec: int, stream: str = "") -> Sample:
        """Return the `wanted` signals of a container, read at its scope; with some that they are made of.

        The first sample of a stream has gauges only. `now_usec` is CLOCK_MONOTONIC at the read. Raises Gone, after
        which the container is forgotten, and Unsupported where the process has too few descriptors.
        """
        held = self._held.get(cgroup.inode)
        if held is None:
            held = self._held[cgroup.inode] = _Held(Files.of(cgroup.duplicate()))
        try:
            return _sample(held, plan(wanted), now_usec, stream)
        except Gone:
            self.forget(cgroup.inode)
            raise

    def host(self, wanted: frozenset[str], now_usec: int, stream: str = "") -> Sample:
        """Return the `wanted` signals of the host. Raises Unsupported where there is no /proc."""
        held = self._held.get(HOST)
        if held is None:
            held = self._held[HOST] = _Held(Files.below(self._proc_root))
        return _sample(held, host_plan(wanted), now_usec, stream)

    def adopt(self, inode: int, files: Files) -> None:
        """Take over what prepare() opened for a container."""
        if inode in self._held:
            files.close()
        else:
            self._held[inode] = _Held(files)

    def forget(self, inode: int) -> None:
        """Close the files of a container that is gone; one that is not known is no error."""
        held = self._held.pop(inode, None)
        if held is not None:
            held.files.close()

    def drop_stream(self, inode: int, stream: str) -> None:
        """Forget one stream's past, so that its next sample is a first one again."""
        held = self._held.get(inode)
        if held is not None:
            held.pasts.pop(stream, None)

    def close(self) -> None:
        """Close every file."""
        for inode in tuple(self._held):
            self.forget(inode)


def prepare(cgroup: Cgroup, wanted: frozenset[str], now_usec: int) -> Files:
    """Open what the `wanted` signals need, for adopt(). May run in a worker thread. Raises Gone.

    `cgroup` must be a handle of its own (Cgroup.duplicate): it is closed with the files.
    """
    files = Files.of(cgroup)
    try:
        files.prepare(plan(wanted).files, now_usec)
    except Gone:
        files.close()
        raise
    return files


@lru_cache(maxsize=256)
def plan(wanted: frozenset[str]) -> Plan:
    """Return what is read of a container for the `wanted` signals; a device's (name@major:minor) count as well."""
    return _plan(CONTAINER_SENSORS, wanted)


@lru_cache(maxsize=256)
def host_plan(wanted: frozenset[str]) -> Plan:
    """Return what is read of the host for the `wanted` signals."""
    return _plan(HOST_SENSORS, wanted)


def _plan(sensors: tuple[Sensor, ...], wanted: frozenset[str]) -> Plan:
    names = frozenset(key.partition("@")[0] for key in wanted)
    sources = tuple(source for sensor in sensors for source in sensor.sources(names))
    return Plan(tuple(source.file for source in sources), sources, memory.WORKING_SET in names)


def _sample(held: _Held, wanted: Plan, now_usec: int, stream: str) -> Sample:
    """Read, parse what has changed, derive, and keep it for the next time."""
    texts = held.files.read(wanted.files, now_usec)
    past = held.pasts.get(stream)
    if past is None or past.plan is not wanted or now_usec <= past.time_usec:
        past = held.pasts[stream] = _start(past, wanted, now_usec)
    dt_sec = (now_usec - past.time_usec) / USEC_PER_SEC
    values: dict[str, float] = {}
    counters: list[Any] = []
    for source, text, old_text, before in zip(wanted.sources, texts, past.texts, past.counters, strict=True):
        now = None if text is None else before if text == old_text else source.parse(text)
        counters.append(now)
        if now is not None:
            values.update(source.derive(before, now, dt_sec))
    past.time_usec, past.texts, past.counters = now_usec, texts, counters
    if wanted.working_set:
        memory.add_working_set(values)
    return Sample(time_usec=now_usec, values=values)


def _start(past: _Past | None, wanted: Plan, now_usec: int) -> _Past:
    """Return what a stream's next sample is compared with: after a change of plan, the counters of the same files."""
    nothing: list[Any] = [None] * len(wanted.files)
    if past is None or now_usec <= past.time_usec:
        return _Past(now_usec, wanted, nothing, nothing)
    known = dict(zip(past.plan.files, past.counters, strict=True))
    return _Past(past.time_usec, wanted, nothing, [known.get(file) for file in wanted.files])
