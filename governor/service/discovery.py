"""Which containers there are: by systemd's signals at once, by a walk over the tree for what no signal told.

A signal is only a hint. What counts is the cgroup: its path names the runtime, its inode is the identity, and D-Bus is
asked about a unit only once its cgroup is there (asking about a unit that is gone makes PID 1 load it again).
"""

from __future__ import annotations

import asyncio
import logging
import pwd
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governor import runtimes
from governor.kernel.xattr import invocation_id
from governor.model.container import Container, Identity, Metadata
from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from governor.bus.systemd import Systemd
    from governor.kernel.cgroup import CgroupRoot

log = logging.getLogger(__name__)

UNIT_SUFFIXES = (".scope", ".service")
METADATA_TRIES = 4
METADATA_PAUSE_SEC = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cgroup that a runtime's file has recognised, not yet completed."""

    path: str
    inode: int
    identity: Identity


class Discovery:
    """Keeps the table of containers by inode.

    `relevant` tells of a plain unit whether any policy is about it: a host has hundreds that nobody governs.
    `users` gets the names of the uids beneath whose managers containers are found.
    `changed(before, after)` is called for each container that came (None, c), went (c, None) or became better known.
    """

    def __init__(
        self,
        root: CgroupRoot,
        manager: Callable[[int | None], Awaitable[Systemd]],
        relevant: Callable[[str], bool],
        changed: Callable[[Container | None, Container | None], None],
        users: dict[int, str],
        places: runtimes.Places | None = None,
    ) -> None:
        self._root = root
        self._manager = manager
        self._relevant = relevant
        self._changed = changed
        self._users = users
        self._places = places or runtimes.Places(cgroup=root.path)
        self._containers: dict[int, Container] = {}
        self._adding: set[int] = set()
        self._rejected: set[tuple[int, str]] = set()
        """Cgroups that turned out to be no containers: sandboxes, wrong guesses."""
        self._identities: dict[tuple[str, int], Identity | None] = {}
        """What each cgroup of the last walk was recognised as; a walk looks only at new ones."""
        self._parents: set[str] = {"/system.slice", "/machine.slice"}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scanning = asyncio.Lock()
        self._scan_again = False

    def containers(self) -> tuple[Container, ...]:
        """Return the containers that are known, in no particular order."""
        return tuple(self._containers.values())

    def get(self, inode: int) -> Container | None:
        """Return the container whose cgroup has `inode`."""
        return self._containers.get(inode)

    async def scan(self) -> None:
        """Bring the table in line with the tree: what a missed signal left is repaired here."""
        async with self._scanning:
            found, parents = await asyncio.to_thread(self._walk)
            self._parents = parents | {"/system.slice", "/machine.slice"}
            self._rejected &= {(inode, path) for path, inode in self._identities}
            gone = [inode for inode in self._containers if inode not in found]
            for inode in gone:
                self.remove(inode)
            self._update_payloads(found.values())
            await asyncio.gather(*(self._add(candidate) for candidate in found.values()))

    def scan_soon(self, delay_sec: float = 0.05) -> None:
        """Scan after `delay_sec`; calls until then are one."""
        if not self._scan_again:
            self._scan_again = True
            self._spawn(self._scan_after(delay_sec))

    def unit_seen(self, unit: str, *, settled: bool) -> None:
        """Take the hint that `unit` is new; `settled` says that its start has ended, so its cgroup must be there."""
        if not unit.endswith(UNIT_SUFFIXES):
            return
        candidates = list(self._locate(unit))
        for candidate in candidates:
            self._spawn(self._add(candidate))
        if settled and not candidates and (unit.endswith(".service") or _looks_contained(unit)):
            self.scan_soon()

    def unit_removed(self, unit: str) -> None:
        """Take the hint that `unit` is gone."""
        for container in self.containers():
            if container.unit == unit and not self._is_there(container):
                self.remove(container.inode)

    def remove(self, inode: int) -> None:
        """Drop a container that is gone."""
        container = self._containers.pop(inode, None)
        if container is not None:
            self._changed(container, None)

    async def close(self) -> None:
        """End what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _scan_after(self, delay_sec: float) -> None:
        await asyncio.sleep(delay_sec)
        self._scan_again = False
        await self.scan()

    def _walk(self) -> tuple[dict[int, Candidate], set[str]]:
        """Return every candidate in the tree by inode, and the slices, in which units are. Runs in a worker."""
        found: dict[int, Candidate] = {}
        parents: set[str] = set()
        identities: dict[tuple[str, int], Identity | None] = {}
        for path, inode in self._root.tree():
            if path.endswith(".slice"):
                parents.add(path)
                continue
            key = (path, inode)
            identities[key] = self._identities[key] if key in self._identities else runtimes.recognise(path)
            candidate = self._candidate(path, inode, identities[key])
            if candidate is not None:
                found[inode] = candidate
        self._identities = identities
        return found, parents

    def _candidate(self, path: str, inode: int, identity: Identity | None) -> Candidate | None:
        if identity is None or (inode, path) in self._rejected:
            return None
        if identity.runtime == "systemd" and not self._relevant(path):
            return None
        return Candidate(path, inode, identity)

    def _locate(self, unit: str) -> Iterable[Candidate]:
        """Yield the candidates for `unit` in the places where units are: an open each, no walk."""
        for parent in self._parents:
            path = f"{parent}/{unit}"
            with suppress(Gone), self._root.open(path) as cgroup:
                candidate = self._candidate(path, cgroup.inode, runtimes.recognise(path))
                if candidate is not None:
                    yield candidate

    def _is_there(self, container: Container) -> bool:
        with suppress(Gone), self._root.open(container.cgroup) as cgroup:
            return cgroup.inode == container.inode
        return False

    async def _add(self, candidate: Candidate) -> None:
        if candidate.inode in self._containers or candidate.inode in self._adding:
            return
        self._adding.add(candidate.inode)
        try:
            identity = await asyncio.to_thread(runtimes.confirm, candidate.identity, candidate.path, self._places)
            if identity is None:
                self._rejected.add((candidate.inode, candidate.path))
                return
            candidate = replace(candidate, identity=identity)
            container = await self._complete(candidate)
        except (Gone, ActuationError) as reason:
            log.debug("not added: %s", reason)
            return
        finally:
            self._adding.discard(candidate.inode)
        self._containers[container.inode] = container
        self._changed(None, container)
        self._spawn(self._describe(container, candidate))

    async def _complete(self, candidate: Candidate) -> Container:
        """Return the container for `candidate`, with what its unit's manager says. Raises Gone, ActuationError."""
        path, identity = candidate.path, candidate.identity
        container = Container(
            runtime=identity.runtime,
            namespace=identity.namespace,
            id=identity.id,
            name=identity.name,
            user=runtimes.owner_uid(path),
            cgroup=path,
            payload=self._payload(path),
            inode=candidate.inode,
            pod=identity.pod,
            described=False,
            slice=next((part for part in reversed(path.split("/")) if part.endswith(".slice")), ""),
        )
        if container.user is not None and container.user not in self._users:
            self._users[container.user] = await asyncio.to_thread(_user_name, container.user)
        unit = path.rpartition("/")[2]
        return await self._with_unit(container, unit) if unit.endswith(UNIT_SUFFIXES) else container

    async def _with_unit(self, container: Container, unit: str) -> Container:
        """Return `container` with the unit whose ControlGroup it is, if there is one.

        A manager that cannot be reached leaves the unit named all the same: its cgroup is not ours to write by file.
        """
        invocation = self._invocation(container) if unit.endswith(".scope") and container.user is None else ""
        if invocation:
            return replace(container, unit=unit, invocation=invocation)
        try:
            facts = await (await self._manager(container.user)).unit_facts(unit)
        except Unsupported:
            return replace(container, unit=unit)
        if facts.control_group != container.cgroup:
            return container
        return replace(container, unit=unit, invocation=facts.invocation_id, transient=facts.transient)

    def _invocation(self, container: Container) -> str:
        """Return what systemd wrote on a scope's cgroup: that it is there says that the scope is systemd's own.

        A scope is always transient, so nothing remains to be asked, and the first limit comes three calls earlier.
        """
        with suppress(Gone), self._root.open(container.cgroup) as cgroup:
            return invocation_id(cgroup) if cgroup.inode == container.inode else ""
        return ""

    def _payload(self, path: str) -> str:
        try:
            with self._root.open(path) as cgroup:
                return runtimes.payload(path, cgroup.children())
        except Gone:
            return ""

    def _update_payload(self, candidate: Candidate) -> None:
        """Look for the nested cgroup, which a runtime makes a moment after the scope."""
        container = self._containers.get(candidate.inode)
        if container is not None:
            self._note(container, replace(container, payload=self._payload(candidate.path)))

    def _update_payloads(self, candidates: Iterable[Candidate]) -> None:
        """Note the nested cgroups that the last walk has met: nothing has to be opened for that."""
        paths = {path for path, _ in self._identities}
        for candidate in candidates:
            child = runtimes.payload_child(candidate.identity.runtime)
            container = self._containers.get(candidate.inode)
            if child and container is not None:
                nested = f"{candidate.path}/{child}"
                self._note(container, replace(container, payload=nested if nested in paths else ""))

    def look_again(self, inode: int) -> None:
        """Look anew for the nested cgroup of one container."""
        container = self._containers.get(inode)
        if container is not None:
            self._update_payload(Candidate(container.cgroup, inode, Identity(runtime=container.runtime, id="")))

    def _note(self, before: Container, after: Container) -> None:
        if after != before and self._containers.get(before.inode) == before:
            self._containers[before.inode] = after
            self._changed(before, after)

    async def _describe(self, container: Container, candidate: Candidate) -> None:
        """Ask the runtime for name, image and labels; a runtime that has not finished making it is asked again."""
        metadata = Metadata(name=container.name)
        for attempt in range(METADATA_TRIES):
            try:
                metadata = await asyncio.to_thread(runtimes.metadata, candidate.identity, candidate.path, self._places)
                break
            except Unsupported as reason:
                log.debug("no metadata of %s: %s", container.key, reason)
                break
            except Gone as reason:
                log.debug("no metadata of %s yet: %s", container.key, reason)
                await asyncio.sleep(METADATA_PAUSE_SEC * 2**attempt)
        self._describe_as(container.inode, metadata)

    def _describe_as(self, inode: int, metadata: Metadata) -> None:
        container = self._containers.get(inode)
        if container is None:
            return
        after = replace(
            container,
            name=metadata.name or container.name,
            image=metadata.image,
            labels=metadata.labels,
            described=True,
            pod=runtimes.name_pod(container.pod, metadata.labels) if container.pod else None,
        )
        self._note(container, after)


def _user_name(uid: int) -> str:
    """Return the name of `uid`, or the number where it has none; may ask the network."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError, OverflowError):
        return str(uid)


def _looks_contained(unit: str) -> bool:
    """Return whether a scope of this name would be a container wherever its cgroup is."""
    identity = runtimes.recognise(f"/system.slice/{unit}")
    return identity is not None and identity.runtime != "systemd"
