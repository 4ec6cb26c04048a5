"""A recording: what the sensors told of every container, tick by tick, in a file that `simulate` can go through again.

gzip of JSON lines. The first is the header, `{"format": "governor-recording", "version": 1, …}`; each other one is

  {"keys": [name, …]}           signals not seen before; ticks name them by their place in the whole list
  {"add": n, "container": {…}}  container n came, or more is known of it
  {"limits": {…}, "of": n}      its limits in force that have changed, by D-Bus property; null where there is none now
  {"originals": {…}, "of": n}   what they would be without the governor, in the same way
  {"gone": n}
  {"t": µs, "h": [key, value, …], "c": {n: [key, value, …]}}   a tick: what has changed; null where it is absent now

Times count from the start. Numbers have six significant digits. A file may end anywhere: what is whole is read.
"""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.kernel.host import Host
    from governor.model.container import Container
    from governor.model.signal import Sample
    from governor.model.values import Value

FORMAT: Final = "governor-recording"
VERSION: Final = 1
_FLUSH_USEC: Final = 10 * USEC_PER_SEC
"""What a recorder that is killed may lose. Each flush costs some compression."""
_WHOLE: Final = 1e15
"""Below it a float that is whole is written, shorter, as an integer."""
_LEVEL: Final = 6
FIELDS: Final = (
    "runtime",
    "namespace",
    "id",
    "name",
    "image",
    "labels",
    "unit",
    "slice",
    "user",
    "cgroup",
    "inode",
    "pod",
    "described",
)
"""What is kept of a container: all that a policy may ask for, and how to find it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a recording says of itself and its host. `started_usec` is wall time, `monotonic_usec` CLOCK_MONOTONIC."""

    started_usec: int
    monotonic_usec: int
    interval_usec: int
    host: Host
    hostname: str = ""
    users: Mapping[int, str] = field(default_factory=dict)
    """Names of the uids beneath whose managers there were containers, for `match.user`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the header's line."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "started": self.started_usec,
            "monotonic": self.monotonic_usec,
            "interval": self.interval_usec,
            "hostname": self.hostname,
            "users": {str(uid): name for uid, name in self.users.items()},
            "host": {
                "memory": self.host.memory_total_bytes,
                "page": self.host.page_size_bytes,
                "cpus": list(self.host.cpus),
                "nodes": list(self.host.memory_nodes),
                "tasks": self.host.tasks_max,
                "bfq": self.host.bfq_only,
            },
        }


def rounded(value: float) -> float | None:
    """Return `value` with six significant digits, whole numbers as such; None for what is no number."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < _WHOLE else short


class Writer:
    """Writes one recording to `file`, an open binary file that the caller closes after `close`."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        # neither name nor time in gzip's own header: the same input gives the same file
        self._stream = gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_LEVEL, mtime=0)
        self._started_usec = self._flushed_usec = header.monotonic_usec
        self._keys: dict[str, int] = {}
        self._numbers: dict[int, int] = {}
        self._count = 0
        self._told: dict[int, dict[str, Mapping[str, Value]]] = {}
        self._last: dict[int, dict[str, float]] = {0: {}}
        self.ticks = 0
        self._put(header.as_dict())

    def container(self, container: Container) -> None:
        """Tell of a container that came, or of which more is known now."""
        number = self._numbers.get(container.inode)
        if number is None:
            number = self._numbers[container.inode] = self._count
            self._count += 1
            self._told[container.inode] = {}
            self._last[container.inode] = {}
        self._put({"add": number, "container": _described(container)})

    def limits(self, inode: int, limits: Mapping[str, Value]) -> None:
        """Tell what the kernel holds for a container; nothing is written where that is as before."""
        self._tell("limits", inode, limits)

    def originals(self, inode: int, originals: Mapping[str, Value]) -> None:
        """Tell what a container's limits would be without the governor."""
        self._tell("originals", inode, originals)

    def gone(self, inode: int) -> None:
        """Tell that a container has ended."""
        self._put({"gone": self._numbers.pop(inode)})
        del self._told[inode], self._last[inode]

    def tick(self, now_usec: int, host: Sample, samples: Mapping[int, Sample]) -> None:
        """Write one tick; `samples` by inode, of containers that were told of. One without a sample is as before."""
        self._name_keys(host, *samples.values())
        changed = {str(self._numbers[inode]): self._changes(inode, sample) for inode, sample in samples.items()}
        line = {"t": now_usec - self._started_usec, "h": self._changes(0, host)}
        self._put({**line, "c": {number: found for number, found in changed.items() if found}})
        self.ticks += 1
        if now_usec - self._flushed_usec >= _FLUSH_USEC:
            self._stream.flush()
            self._flushed_usec = now_usec

    def close(self) -> None:
        """End the stream; the file itself stays open."""
        self._stream.close()

    def _put(self, line: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def _tell(self, what: str, inode: int, values: Mapping[str, Value]) -> None:
        before = self._told[inode].get(what, {})
        if before == values:
            return
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        self._put({what: {**changed, **dict.fromkeys(before.keys() - values.keys())}, "of": self._numbers[inode]})
        self._told[inode][what] = dict(values)

    def _name_keys(self, *samples: Sample) -> None:
        """Give a number to every signal that has none yet."""
        new = [name for name in dict.fromkeys(name for one in samples for name in one.values) if name not in self._keys]
        if new:
            self._keys |= {name: len(self._keys) + index for index, name in enumerate(new)}
            self._put({"keys": new})

    def _changes(self, inode: int, sample: Sample) -> list[float | None]:
        """Return what differs from the last tick, as key, value, key, value."""
        last, found = self._last[inode], list[float | None]()
        now = {name: short for name, value in sample.values.items() if (short := rounded(value)) is not None}
        for name, value in now.items():
            if last.get(name) != value:
                found += [self._keys[name], value]
        for name in last.keys() - now.keys():
            found += [self._keys[name], None]
        self._last[inode] = now
        return found


def _described(container: Container) -> dict[str, Any]:
    """Return what is kept of a container, without what is empty."""
    found = {name: getattr(container, name) for name in FIELDS}
    found["pod"] = None if container.pod is None else asdict(container.pod)
    found["labels"] = dict(container.labels)
    return {name: value for name, value in found.items() if value not in ("", None, {})}
