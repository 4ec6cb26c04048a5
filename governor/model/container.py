"""What is governed: one container, as found from its unit and cgroup and completed by its runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A container's place in Kubernetes; `qos` is guaranteed, burstable or besteffort, names are "" until known."""

    uid: str
    qos: str
    namespace: str = ""
    name: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a cgroup path alone tells: which runtime made the cgroup, and the container's id in it."""

    runtime: str
    """The stem of the file in runtimes/ that recognised it: docker, podman, containerd, crio, nspawn, lxc, systemd."""
    id: str
    namespace: str = ""
    """What separates equal ids of one runtime: containerd's namespace, the owner's uid for rootless; else ""."""
    name: str = ""
    """The name where the path carries it (nspawn, lxc, plain units), else ""."""
    pod: Pod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the runtime's socket tells about a container: data of unprivileged origin, never trusted, only matched."""

    name: str = ""
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container. Two containers are the same only if their cgroup's inode is the same."""

    runtime: str
    namespace: str
    id: str
    name: str
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    unit: str = ""
    """The systemd unit whose ControlGroup is exactly `cgroup`; "" where there is none (cgroupfs drivers, ctr, LXC)."""
    invocation: str = ""
    """The unit's InvocationID in hex; "" where there is no unit."""
    transient: bool = True
    """Whether the unit lives only in memory; a persistent unit has a file and survives a restart under its name."""
    slice: str = ""
    user: int | None = None
    """Uid of the user manager beneath which the cgroup lies; None for the system's own."""
    cgroup: str
    """Path below the cgroup root, with a leading slash."""
    payload: str = ""
    """Path of the nested cgroup in which the processes sit, where the runtime makes one (crun, nspawn); else ""."""
    inode: int
    pod: Pod | None = None
    described: bool = True
    """Whether its runtime has been asked for name, image and labels; until then policies that need them do not match,
    and nothing may be concluded from that."""

    @property
    def key(self) -> str:
        """The id that is unique on this host: `runtime_namespace_id`, the last element of its D-Bus path unescaped."""
        return f"{self.runtime}_{self.namespace}_{self.id}"
