"""Plain scopes and services: what no container runtime has made, runc and crun called by hand among them.

A unit's cgroup lies in slices only (systemd: src/basic/cgroup-util.c, cg_path_get_unit): what has a unit's name inside
of another unit is not systemd's, except below a user manager.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from governor.model.container import Identity, Metadata
from governor.runtimes.paths import ID, names_of, owner_namespace, owner_uid

if TYPE_CHECKING:
    from governor.runtimes.paths import Places

_USER_MANAGER_DEPTH = 3
_MONITOR = re.compile(rf"(?:libpod|crio)-conmon-{ID}\.scope")
"""A container's monitor: squeezing it stops the container's output."""


def recognise(path: str) -> Identity | None:
    """Return the identity of a plain scope or service, from its path alone; the unit's name is id and name."""
    *parents, name = names_of(path)
    if not name.endswith((".scope", ".service")) or _MONITOR.fullmatch(name):
        return None
    slices = parents[_USER_MANAGER_DEPTH:] if owner_uid(path) is not None else parents
    if not all(parent.endswith(".slice") for parent in slices):
        return None
    return Identity(runtime="systemd", id=name, namespace=owner_namespace(path), name=name)


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`: a plain unit is matched by its exact name only."""
    del path, places
    return identity


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return the name: a unit has no labels and no image."""
    del path, places
    return Metadata(name=identity.name)
