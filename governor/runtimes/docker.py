"""Docker: docker-<id>.scope with the systemd driver, /docker/<id> or a cgroup parent of the user's with cgroupfs.

moby: daemon/oci_linux.go. Kubernetes through cri-dockerd uses the same scopes inside a pod's slice.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from governor.model.container import Identity, Metadata
from governor.model.errors import Gone, Unsupported
from governor.runtimes import kubernetes, oci
from governor.runtimes.http_socket import get_json
from governor.runtimes.paths import ID, Places, is_id, names_of, owner_namespace, owner_uid, without_units
from governor.runtimes.untrusted import fields, items, labels, text

_SCOPE = re.compile(rf"docker-({ID})\.scope")
_PARENTS = ("docker", "actions_job")
"""The default cgroup parent, and that of GitHub's runners."""

_SANDBOX_LABEL = ("io.kubernetes.docker.type", "podsandbox")
"""cri-dockerd: core/docker_service.go."""


def recognise(path: str) -> Identity | None:
    """Return the identity of a docker container, from its path alone.

    A full id below an unusual parent without units is a guess, which confirm() settles.
    """
    *parents, name = names_of(path)
    match = _SCOPE.fullmatch(name)
    if match is None and not (is_id(name) and without_units(tuple(parents)) and _is_parent(parents)):
        return None
    return Identity(
        runtime="docker",
        id=match[1] if match else name,
        namespace=owner_namespace(path),
        pod=kubernetes.pod_of(path),
    )


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`, or None where it is a pod's sandbox or nothing that docker knows."""
    name = names_of(path)[-1]
    if identity.pod is not None:
        with suppress(Gone, Unsupported):
            key, value = _SANDBOX_LABEL
            return None if metadata(identity, path, places).labels.get(key) == value else identity
    if name.endswith(".scope") or names_of(path)[:-1] in [(parent,) for parent in _PARENTS]:
        return identity
    return identity if runs(identity.id, places) else None


def runs(container_id: str, places: Places) -> bool:
    """Return whether docker's containerd has this container."""
    try:
        oci.containerd_bundle("moby", container_id, places)
    except Gone:
        return False
    except Unsupported:  # it is there, only not to be read
        return True
    return True


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return name, image and labels from docker's socket. Raises Gone or Unsupported; takes 2 s at most.

    By listing, not by inspecting: inspect takes a lock that a container's start holds. `all`, since docker calls a
    container running only after its start, when its cgroup has long been there.
    """
    filters = quote(json.dumps({"id": [identity.id]}))
    uid = owner_uid(path)
    socket = Path(places.run, "docker.sock") if uid is None else Path(places.run, f"user/{uid}/docker.sock")
    listing = get_json(str(socket), f"/containers/json?all=1&filters={filters}", owner_uid=0 if uid is None else uid)
    for entry in map(fields, items(listing)):
        if entry.get("Id") == identity.id:
            return Metadata(name=_name(entry), image=text(entry.get("Image")), labels=labels(entry.get("Labels")))
    raise Gone(f"docker knows no container {identity.id}")


def _name(entry: dict[str, object]) -> str:
    """Return the container's own name: names with a second slash are those that old-style links gave it."""
    names = [text(name).removeprefix("/") for name in items(entry.get("Names"))]
    return next((name for name in names if "/" not in name), "")


def _is_parent(parents: list[str]) -> bool:
    """Two levels are also what containerd uses for its namespaces (containerd.py); deeper is --cgroup-parent."""
    if "kubepods" in parents:
        return False
    return parents in [[parent] for parent in _PARENTS] or len(parents) > 1
