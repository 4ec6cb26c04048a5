"""The containers of this host as they are now: the list from the daemon, the numbers from the kernel's own files.

Whoever looks pays: the daemon is asked only when it has said that something changed, and its own measuring is not
altered by who watches.
"""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from governor import runtimes
from governor.bus.codec import decode
from governor.cli.client import Row, choose
from governor.kernel.limits import read_limits
from governor.model.container import Container
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.sensors import Sensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.cli.client import Client
    from governor.kernel.cgroup import Cgroup, CgroupRoot
    from governor.kernel.host import Host
    from governor.model.signal import Sample
    from governor.model.values import Value

RESYNC_SEC: Final = 30.0
"""How often the list is read anew though no change was told."""
PAUSE_SEC: Final = 1.0
"""How often it is read at most, whatever is told."""


@dataclass(slots=True)
class Watched:
    """One container that is looked at."""

    container: Container
    path: str
    """Its object path."""
    cgroup: Cgroup
    originals: Mapping[str, Value] = field(default_factory=dict)


class Live:
    """Keeps the list of containers and samples them. `names` are those that are wanted; all where there are none."""

    def __init__(
        self, client: Client, root: CgroupRoot, names: Sequence[str] = (), sensors: Sensors | None = None
    ) -> None:
        self._client = client
        self._root = root
        self._names = names
        self._sensors = sensors or Sensors()
        self._stale = True
        self._read_at = 0.0
        self.watched: dict[int, Watched] = {}

    async def start(self) -> None:
        """Read the list and listen for its changes. Raises Gone where a name fits no container, or several."""
        _allow_descriptors()
        await self._client.on_change(self._changed)
        await self._read(strict=True)

    async def refresh(self) -> bool:
        """Read the list anew where that is due; return whether it was.

        A daemon that does not answer (it is being restarted) is asked again; what is known is looked at meanwhile.
        """
        since = time.monotonic() - self._read_at
        if since < PAUSE_SEC or (not self._stale and since < RESYNC_SEC):
            return False
        try:
            await self._read(strict=False)
        except (Unsupported, ActuationError):
            self._stale = True
            return False
        return True

    def sample(self, wanted: frozenset[str], now_usec: int) -> dict[int, Sample]:
        """Return a sample of each container by inode; those that ended meanwhile are dropped."""
        found = {}
        for inode, one in list(self.watched.items()):
            try:
                found[inode] = self._sensors.sample(one.cgroup, wanted, now_usec)
            except Gone:
                self._drop(inode)
        return found

    def host(self, wanted: frozenset[str], now_usec: int) -> Sample:
        """Return a sample of the host."""
        return self._sensors.host(wanted, now_usec)

    def limits(self, inode: int, host: Host, names: Sequence[str] | None = None) -> dict[str, Value]:
        """Return what the kernel holds for a container; nothing where it has ended."""
        with suppress(Gone, KeyError):
            return read_limits(self.watched[inode].cgroup, host, names)
        return {}

    def close(self) -> None:
        """Close every file."""
        for inode in list(self.watched):
            self._drop(inode)
        self._sensors.close()

    def _changed(self) -> None:
        self._stale = True

    async def _read(self, *, strict: bool) -> None:
        self._stale, self._read_at = False, time.monotonic()
        objects = self._chosen(await self._client.objects(), strict=strict)
        found = {found.container.inode: found for path, one in objects.items() if (found := self._open(path, one))}
        for inode in self.watched.keys() - found.keys():
            self._drop(inode)
        for inode, one in found.items():
            known = self.watched.get(inode)
            if known is not None:
                one.cgroup.close()
                one.cgroup = known.cgroup
                one.container = known.container if known.container == one.container else one.container
            self.watched[inode] = one

    def _chosen(self, objects: Mapping[str, dict[str, Any]], *, strict: bool) -> Mapping[str, dict[str, Any]]:
        if not self._names:
            return objects
        rows = [_row(path, one) for path, one in objects.items()]
        chosen: set[str] = set()
        for name in self._names:
            try:
                chosen.add(choose(rows, name).path)
            except Gone:
                if strict:
                    raise
        return {path: one for path, one in objects.items() if path in chosen}

    def _open(self, path: str, properties: Mapping[str, Any]) -> Watched | None:
        try:
            cgroup = self._root.open(_word(properties, "CGroup"))
        except Gone:
            return None
        return Watched(
            container=container_of(properties, cgroup.path, cgroup.inode),
            path=path,
            cgroup=cgroup,
            originals=_values(properties.get("Originals", {})),
        )

    def _drop(self, inode: int) -> None:
        self._sensors.forget(inode)
        self.watched.pop(inode).cgroup.close()


def _allow_descriptors() -> None:
    """Let this process open as many files as it may: some thirty a container, where shells allow 1024 in all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def container_of(properties: Mapping[str, Any], cgroup: str, inode: int) -> Container:
    """Return the container that the daemon describes; what it does not tell is in the path, as for the daemon."""
    identity = runtimes.recognise(cgroup)
    labels = {str(key): str(value) for key, value in properties.get("Labels", {}).items()}
    pod = identity.pod if identity is not None else None
    return Container(
        runtime=_word(properties, "Runtime"),
        namespace=identity.namespace if identity is not None else "",
        id=_word(properties, "Id"),
        name=_word(properties, "Name"),
        image=_word(properties, "Image"),
        labels=MappingProxyType(labels),
        unit=_word(properties, "Unit"),
        slice=next((part for part in reversed(cgroup.split("/")) if part.endswith(".slice")), ""),
        user=runtimes.owner_uid(cgroup),
        cgroup=cgroup,
        inode=inode,
        pod=runtimes.name_pod(pod, labels) if pod is not None else None,
    )


def _row(path: str, properties: Mapping[str, Any]) -> Row:
    identifier, name, runtime, unit = (_word(properties, word) for word in ("Id", "Name", "Runtime", "Unit"))
    return Row(identifier, name, runtime, unit, path)


def _word(properties: Mapping[str, Any], name: str) -> str:
    return str(properties.get(name, ""))


def _values(raw: Mapping[str, Any]) -> dict[str, Value]:
    """Return limits as values; one that this program cannot read is left out."""
    found = {}
    for name, value in raw.items():
        with suppress(TypeError, ValueError):
            found[name] = decode(name, value)
    return found
