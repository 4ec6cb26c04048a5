"""From a cgroup to the container in it: which runtime made it, under which id, name, image and labels.

To add a runtime: one file here with recognise(), confirm() and metadata(), one line in RUNTIMES, one mirrored test.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from governor.model.errors import Unsupported
from governor.runtimes import containerd, crio, docker, lxc, nspawn, podman, systemd
from governor.runtimes.kubernetes import named as name_pod
from governor.runtimes.paths import Places, names_of, owner_uid, parents_are_trusted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.model.container import Identity, Metadata

__all__ = ["RUNTIMES", "Places", "confirm", "metadata", "name_pod", "owner_uid", "payload", "recognise"]


class Runtime(Protocol):
    """What each file of this folder offers."""

    def recognise(self, path: str) -> Identity | None:
        """Return who a cgroup is, from its path alone; never raises for a path with a name in it."""

    def confirm(self, identity: Identity, path: str, places: Places) -> Identity | None:
        """Return who it really is, or None where it is no container. May read files and sockets; never raises."""

    def metadata(self, identity: Identity, path: str, places: Places) -> Metadata:
        """Return what the runtime knows besides. Raises Gone or Unsupported."""


RUNTIMES: Final[Mapping[str, Runtime]] = MappingProxyType(
    {
        "docker": docker,
        "podman": podman,
        "crio": crio,
        "lxc": lxc,
        "nspawn": nspawn,
        "containerd": containerd,
        "systemd": systemd,
    }
)
"""In the order in which they are asked: containerd guesses at what the others leave, systemd takes any other unit."""

_HOST = Places()
_MAX_DEPTH = 32
"""Pods of a rootless k3s lie nine levels deep; only somebody hostile goes beyond this."""

_PAYLOADS: Final[Mapping[str, str]] = MappingProxyType(
    {"docker": "container", "podman": "container", "containerd": "container", "crio": "container", "nspawn": "payload"}
)
"""The nested cgroup in which the processes are: crun's default subgroup, whoever calls crun, and nspawn's."""


def recognise(path: str) -> Identity | None:
    """Return who the cgroup at `path` is, from the path alone; None for what is no container, such as one within one.

    Total: any string is taken. An identity may still be a guess, or a pod's sandbox: confirm() settles that.
    """
    names = names_of(path)
    if not names or len(names) > _MAX_DEPTH:
        return None
    prefixes = ["/" + "/".join(names[:depth]) for depth in range(1, len(names))]
    if any(_encloses(prefix) for prefix in prefixes):
        return None
    return _first("/" + "/".join(names))


def confirm(identity: Identity, path: str, places: Places = _HOST) -> Identity | None:
    """Return who the cgroup really is; None for a pod's sandbox, a wrong guess or a name forged by a delegate.

    Looks at the owners of the parent directories, and at files or the socket of the runtime: call it in a worker
    thread, once a cgroup. Takes 2 s at most, and only where a pod's container is docker's.
    """
    if not parents_are_trusted(path, places):
        return None
    return RUNTIMES[identity.runtime].confirm(identity, path, places)


def metadata(identity: Identity, path: str, places: Places = _HOST) -> Metadata:
    """Return name, image and labels: hostile data, only to be matched and shown. Call it in a worker thread.

    Raises Gone where the runtime does not know the container (yet, or any more), Unsupported where nobody can be asked.
    """
    runtime = RUNTIMES.get(identity.runtime)
    if runtime is None:
        raise Unsupported(f"no runtime is called {identity.runtime!r}")
    return runtime.metadata(identity, path, places)


def payload(path: str, children: Iterable[str]) -> str:
    """Return the path of the child in which the container's processes are; "" where they are in the cgroup itself."""
    identity = recognise(path)
    child = _PAYLOADS.get(identity.runtime) if identity else None
    return f"{path.rstrip('/')}/{child}" if child in tuple(children) else ""


def payload_child(runtime: str) -> str:
    """Return how a runtime calls the cgroup that it nests for the container's processes; "" where it nests none."""
    return _PAYLOADS.get(runtime, "")


def _first(path: str) -> Identity | None:
    found = (runtime.recognise(path) for runtime in RUNTIMES.values())
    return next((identity for identity in found if identity is not None), None)


def _encloses(path: str) -> bool:
    """Return whether a container is surely at `path`, so that all below it is its own affair.

    Surely: not a plain unit, and not the guess that two plain names make, which a --cgroup-parent may have too.
    """
    identity = _first(path)
    if identity is None or identity.runtime == "systemd":
        return False
    return identity.runtime != "containerd" or identity.name == ""
