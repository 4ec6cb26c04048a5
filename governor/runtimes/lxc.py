"""LXC, LXD and Incus: lxc.payload.<name> beside lxc.monitor.<name>; /lxc/<name> in older versions.

lxc: src/lxc/cgroups/cgfsng.c. There is no unit and, for plain LXC, no daemon to ask: the name is the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.model.container import Identity, Metadata
from governor.runtimes.paths import names_of, owner_namespace

if TYPE_CHECKING:
    from governor.runtimes.paths import Places

_PREFIX = "lxc.payload."
_PARENTS = (["lxc"], ["lxc.payload"])


def recognise(path: str) -> Identity | None:
    """Return the identity of an LXC container, from its path alone."""
    *parents, last = names_of(path)
    if last.startswith(_PREFIX):
        name = last.removeprefix(_PREFIX)
    elif parents in _PARENTS and not last.startswith("lxc.monitor"):
        name = last
    else:
        return None
    return Identity(runtime="lxc", id=name, namespace=owner_namespace(path), name=name) if name else None


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`: the path leaves nothing open."""
    del path, places
    return identity


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return the name: LXC has no labels and no images."""
    del path, places
    return Metadata(name=identity.name)
