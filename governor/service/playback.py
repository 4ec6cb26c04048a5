"""Reads a recording. It may come from anybody: everything in it is checked, and nothing in it is without a bound."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from governor.kernel.host import Host
from governor.model.directives import BY_PROPERTY
from governor.model.errors import ActuationError
from governor.model.signal import Sample, signal_of
from governor.model.values import INFINITY, USEC_PER_SEC
from governor.service.recorded_container import NotARecording, container_of, integer, mapping, ordinal, text
from governor.service.recording import FORMAT, VERSION, Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from governor.model.container import Container
    from governor.model.values import Value

_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = zlib.MAX_WBITS | 16
_MAX_USEC: Final = 2**62
_MAX_VALUE: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of a recording is taken in. The defaults suit a file of the user's own."""

    unpacked_bytes: int = 4 * 1024**3
    """Of the whole recording. An hour of 1000 containers is about 2 GiB."""
    line_bytes: int = 8 * 1024**2
    containers: int = 10_000
    """At a time."""
    values: int = 2_000_000
    """Of all containers, at a time."""
    keys: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One container in one tick."""

    container: Container
    sample: Sample
    limits: Mapping[str, Value]
    """What the kernel held for it."""
    originals: Mapping[str, Value]
    """What the governor had found before it set anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One tick: the host and every container, by inode."""

    time_usec: int
    host: Sample
    containers: Mapping[int, Recorded]


@dataclass(slots=True)
class _Entry:
    container: Container
    values: dict[str, float] = field(default_factory=dict)
    limits: dict[str, Value] = field(default_factory=dict)
    originals: dict[str, Value] = field(default_factory=dict)


class Playback:
    """The recording in `file`. Its header is read at once; raises NotARecording where it is none.

    `frames` can be gone through once. Afterwards `warning` says what is missing ("" where nothing is), since a file
    that was cut off is good up to there.
    """

    def __init__(self, file: BinaryIO, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self.warning = ""
        self._lines = self._unpacked(file)
        first = next(self._lines, None)
        if first is None:
            raise NotARecording(self.warning or "it has no line")
        self.header = _header(_parsed(first))
        self._keys: list[str] = []
        self._entries: dict[int, _Entry] = {}
        self._host: dict[str, float] = {}
        self._count = 0
        self._now_usec = 0

    def frames(self) -> Iterator[Frame]:
        """Yield every tick. What is wrong in the middle ends it, with a warning, as if the file were cut off there."""
        try:
            for line in self._lines:
                frame = self._take(_parsed(line))
                if frame is not None:
                    yield frame
        except NotARecording as error:
            self.warning = f"it is damaged, {error}: only what is before that is read"

    # -- lines

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield whole lines; a stream that ends or breaks in the middle sets the warning and ends them."""
        total, rest, unpacker = 0, b"", zlib.decompressobj(_GZIP)
        packed = b""
        while packed := unpacker.unconsumed_tail or file.read(_CHUNK_BYTES):
            try:
                data = unpacker.decompress(packed, _CHUNK_BYTES)
            except zlib.error:
                self.warning = "it is no gzip file" if not total else "it is damaged: only what is before that is read"
                return
            total += len(data)
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
            if total > self._bounds.unpacked_bytes or len(rest) > self._bounds.line_bytes:
                self.warning = f"it is larger than is read ({self._bounds.unpacked_bytes} bytes unpacked)"
                return
            if unpacker.eof:
                return
        self.warning = "it was cut off: what is whole is read" if total else "it is empty"

    def _take(self, line: Mapping[str, Any]) -> Frame | None:
        """Take one line in; return the frame that it completes."""
        if "t" in line:
            return self._tick(line)
        if "keys" in line:
            self._name_keys(line["keys"])
        elif "add" in line:
            self._add(integer(line["add"]), container_of(mapping(line.get("container"))))
        elif "gone" in line:
            entry = self._entries.pop(integer(line["gone"]), None)
            self._count -= len(entry.values) if entry is not None else 0
        elif "of" in line:
            self._limit(line)
        # a line of another kind is a newer version's: what is known of the others holds without it
        return None

    def _name_keys(self, names: Any) -> None:
        if not isinstance(names, list) or len(self._keys) + len(names) > self._bounds.keys:
            raise NotARecording("it has too many signals")
        self._keys += [text(name) for name in names]

    def _add(self, number: int, container: Container) -> None:
        entry = self._entries.get(number)
        if entry is not None:
            entry.container = container
        elif len(self._entries) >= self._bounds.containers:
            raise NotARecording("it has too many containers")
        else:
            self._entries[number] = _Entry(container)

    def _limit(self, line: Mapping[str, Any]) -> None:
        entry = self._entry(line["of"])
        for what in ("limits", "originals"):
            if what in line:
                held = dict(entry.limits if what == "limits" else entry.originals)
                for name, raw in mapping(line[what]).items():
                    held.pop(name, None)
                    if (value := _limit_value(name, raw)) is not None:
                        held[name] = value
                setattr(entry, what, held)

    def _tick(self, line: Mapping[str, Any]) -> Frame:
        now_usec = self.header.monotonic_usec + integer(line["t"])
        if not self._now_usec < now_usec < _MAX_USEC:
            raise NotARecording("its time runs backwards")
        self._now_usec = now_usec
        self._host = self._changed(self._host, line.get("h", []))
        for number, changes in mapping(line.get("c", {})).items():
            entry = self._entry(ordinal(number))
            entry.values = self._changed(entry.values, changes)
        return Frame(
            time_usec=now_usec,
            host=Sample(time_usec=now_usec, values=self._host),
            containers={entry.container.inode: _recorded(entry, now_usec) for entry in self._entries.values()},
        )

    def _entry(self, number: Any) -> _Entry:
        found = self._entries.get(integer(number))
        if found is None:
            raise NotARecording(f"it has no container {number}")
        return found

    def _changed(self, before: Mapping[str, float], changes: Any) -> dict[str, float]:
        """Return `before` with the changes of one tick."""
        if not isinstance(changes, list) or len(changes) % 2:
            raise NotARecording("a tick is not of pairs")
        found = dict(before)
        for index, value in zip(changes[::2], changes[1::2], strict=True):
            name = self._key(index)
            if value is None:
                found.pop(name, None)
            elif signal_of(name) is not None:  # one of a newer version is left out
                found[name] = _number(value)
        self._count += len(found) - len(before)
        if self._count > self._bounds.values:
            raise NotARecording("it has too many values")
        return found

    def _key(self, index: Any) -> str:
        if integer(index) >= len(self._keys):
            raise NotARecording(f"it has no signal {index}")
        return self._keys[int(index)]


def _number(raw: Any) -> float:
    # compared before it is converted: an integer of JSON may be larger than any float
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not -_MAX_VALUE < raw < _MAX_VALUE:
        raise NotARecording("a value of it is no number")
    return float(raw)


def _recorded(entry: _Entry, now_usec: int) -> Recorded:
    return Recorded(
        container=entry.container,
        sample=Sample(time_usec=now_usec, values=entry.values),
        limits=entry.limits,
        originals=entry.originals,
    )


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotARecording("a line of it is not JSON") from error
    return mapping(found)


def _header(line: Mapping[str, Any]) -> Header:
    if line.get("format") != FORMAT:
        raise NotARecording("it says of itself that it is something else")
    if line.get("version") != VERSION:
        raise NotARecording(f"it is of version {str(line.get('version'))[:20]}; this program reads version {VERSION}")
    return Header(
        started_usec=integer(line.get("started")),
        monotonic_usec=max(1, integer(line.get("monotonic"))),
        interval_usec=integer(line.get("interval", USEC_PER_SEC)),
        host=_host(mapping(line.get("host"))),
        hostname=text(line.get("hostname", "")),
        users={ordinal(uid): text(name) for uid, name in mapping(line.get("users", {})).items()},
    )


def _host(raw: Mapping[str, Any]) -> Host:
    return Host(
        memory_total_bytes=integer(raw.get("memory")),
        page_size_bytes=max(1, integer(raw.get("page", 4096))),
        cpus=_numbers(raw.get("cpus")),
        memory_nodes=_numbers(raw.get("nodes", [0])),
        tasks_max=integer(raw.get("tasks")),
        bfq_only=raw.get("bfq") is True,
        block_device=_no_device,
    )


def _no_device(path: str) -> str:
    """Return a device that is named by number; the recorded host's paths mean nothing here."""
    if path.replace(":", "").isdecimal():
        return path
    raise ActuationError(f"{path} is a device of another host")


def _numbers(raw: Any) -> tuple[int, ...]:
    if not isinstance(raw, list) or not raw:
        raise NotARecording("its header does not say what the host had")
    return tuple(sorted({integer(number) for number in raw}))


def _limit_value(name: str, raw: Any) -> Value | None:
    """Return a limit's value; None where there is none now, or where this program does not know the property."""
    directive = BY_PROPERTY.get(name)
    if directive is None or raw is None:
        return None
    if directive.signature == "b" and isinstance(raw, bool):
        return raw
    if directive.signature == "t":
        return integer(raw, most=INFINITY)
    if directive.signature == "ay" and isinstance(raw, list):
        return tuple(integer(number) for number in raw)
    if directive.signature == "a(st)" and isinstance(raw, list):
        return tuple(_device(pair) for pair in raw)
    return None


def _device(pair: Any) -> tuple[str, int]:
    if not isinstance(pair, list) or len(pair) != 2:  # noqa: PLR2004 - a device and its limit
        raise NotARecording("a limit is not of devices")
    return text(pair[0]), integer(pair[1], most=INFINITY)
