"""The ledger: what was there before we wrote, kept where a crash cannot take it.

One JSON file a target, replaced by atomic rename before every write to the kernel, in a directory that only root may
read. /run is a memory file system, so the ledger ends when the limits do: at the next boot.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from governor.model.errors import ActuationError
from governor.model.lease import Hold, Lease, Target, TargetKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from governor.model.values import Value

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All leases on one target, by property.

    `drop_ins` has the text of every drop-in file that stood, before our first write, where systemd keeps ours: to
    restore a persistent unit is to put these back and to delete the rest.
    """

    target: Target
    leases: Mapping[str, Lease] = field(default_factory=dict)
    drop_ins: Mapping[str, str] = field(default_factory=dict)


class Ledger:
    """The entries on disk, mirrored in memory. Every change is on disk when the method returns.

    Raises ActuationError where the directory cannot be written: then nothing may be written to the kernel either.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entries: dict[str, Entry] = {}
        self.damaged: list[str] = []
        """Files that could not be read; set aside with the suffix .bad, for a person to look at."""

    def load(self) -> None:
        """Read every entry from disk, as a new daemon does that takes over from an old one."""
        self._prepare()
        self._entries.clear()
        for path in sorted(self._directory.glob("*.json")):
            try:
                entry = _decode(json.loads(path.read_text()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.damaged.append(f"{path}: {error}")
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".bad"))
                continue
            self._entries[entry.target.key] = entry

    def get(self, target: Target) -> Entry:
        """Return the entry of `target`, empty where nothing is leased.

        The leases' target may be an earlier cgroup of the same persistent unit; the returned one is as it was stored.
        """
        return self._entries.get(target.key) or Entry(target=target)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry that has at least one lease."""
        yield from tuple(self._entries.values())

    def put(self, entry: Entry) -> None:
        """Store `entry`, or remove its file where it has no lease left."""
        if not entry.leases:
            self._remove(entry.target)
            return
        if self._entries.get(entry.target.key) == entry:
            return
        _replace(self._path(entry.target), json.dumps(_encode(entry), separators=(",", ":")))
        self._entries[entry.target.key] = entry

    def _remove(self, target: Target) -> None:
        if self._entries.pop(target.key, None) is None:
            return
        try:
            self._path(target).unlink(missing_ok=True)
        except OSError as error:
            raise ActuationError(f"ledger: {error}") from error

    def _path(self, target: Target) -> Path:
        return self._directory / f"{hashlib.sha256(target.key.encode(errors='surrogateescape')).hexdigest()[:32]}.json"

    def _prepare(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            for stale in self._directory.glob("*.new"):
                stale.unlink(missing_ok=True)
        except OSError as error:
            raise ActuationError(f"ledger: {error}") from error


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        raise ActuationError(f"ledger: {error}") from error


def _encode(entry: Entry) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "target": asdict(entry.target),
        "leases": [asdict(lease) for lease in entry.leases.values()],
        "drop_ins": dict(entry.drop_ins),
    }


def _decode(data: dict[str, Any]) -> Entry:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, expected {FORMAT}")
    target = data["target"]
    leases = [_decode_lease(lease) for lease in data["leases"]]
    return Entry(
        target=Target(**{**target, "kind": TargetKind(target["kind"])}),
        leases={lease.property: lease for lease in leases},
        drop_ins=dict(data["drop_ins"]),
    )


def _decode_lease(data: dict[str, Any]) -> Lease:
    values = {name: _tuples(data[name]) for name in ("original", "restores", "intended", "applied")}
    return Lease(**{**data, **values, "hold": Hold(data["hold"])})


def _tuples(value: Any) -> Value | None:
    """Return `value` with JSON's lists turned back into the tuples that they were."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)  # type: ignore[misc]
    return value  # type: ignore[no-any-return]
