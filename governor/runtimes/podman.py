"""Podman: libpod-<id>.scope, for root and for users; libpod-payload-<id> in a Quadlet's service; cgroupfs forms.

containers/podman: libpod/container_internal_linux.go. crun makes a child `container` in the scope, and the monitor
sits in libpod-conmon-<id>.scope, which is no container. Names and labels come from podman's own database rather than
from its socket, which starts a podman service for every question; users' databases are not opened: they are hostile.
"""

from __future__ import annotations

import json
import re
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from governor.model.container import Identity, Metadata
from governor.model.errors import Gone, Unsupported
from governor.runtimes.http_socket import get_json
from governor.runtimes.paths import ID, Places, is_id, names_of, owner_namespace, owner_uid
from governor.runtimes.untrusted import fields, items, labels, parse_json, read_json, text

_SCOPE = re.compile(rf"libpod-({ID})(?:\.scope)?")
_PAYLOAD = re.compile(rf"libpod-payload-({ID})")
_ROOTLESS_CGROUPFS = re.compile(r"podman-[0-9]{1,10}\.scope")
_STORAGE = "containers/storage"
_LISTS = ("containers.json", "volatile-containers.json")
_DATABASE_WAIT_SEC = 0.5


def recognise(path: str) -> Identity | None:
    """Return the identity of a podman container, from its path alone."""
    *parents, name = names_of(path)
    above = parents[-1] if parents else ""
    in_service = above.endswith(".service")
    match = _SCOPE.fullmatch(name) or (_PAYLOAD.fullmatch(name) if in_service else None)
    if match is None and not (is_id(name) and (in_service or _ROOTLESS_CGROUPFS.fullmatch(above))):
        return None
    return Identity(runtime="podman", id=match[1] if match else name, namespace=owner_namespace(path))


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`, or None for the container that only holds a pod's namespaces."""
    if owner_uid(path) is None:
        with suppress(Gone, Unsupported):
            return None if _from_database(identity, places).get("pause") is True else identity
    return identity


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return name, image and labels. Raises Gone or Unsupported; takes 3 s at most."""
    uid = owner_uid(path)
    if uid is not None:
        return _from_socket(identity, str(Path(places.run, f"user/{uid}/podman/podman.sock")), uid)
    with suppress(Gone, Unsupported):
        config = _from_database(identity, places)
        image, name = text(config.get("rootfsImageName")), text(config.get("name"))
        return Metadata(name=name, image=image, labels=labels(config.get("labels")))
    with suppress(Unsupported):
        return _from_socket(identity, str(Path(places.run, "podman/podman.sock")), 0)
    return _from_files(identity, places)


def _from_database(identity: Identity, places: Places) -> dict[str, Any]:
    """Return podman's configuration of the container (libpod/sqlite_state_internal.go). Raises Gone, Unsupported."""
    import sqlite3  # noqa: PLC0415 -- a megabyte that only hosts with podman shall pay for

    database = Path(places.var_lib, _STORAGE, "db.sql")
    if not database.is_file():  # podman before 4.8 keeps a BoltDB
        raise Unsupported(f"no {database}")
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_DATABASE_WAIT_SEC)) as opened:
            row = opened.execute("SELECT JSON FROM ContainerConfig WHERE ID = ?", (identity.id,)).fetchone()
    except sqlite3.Error as error:
        raise Unsupported(f"{database} is not to be read: {error}") from error
    if row is None:
        raise Gone(f"podman knows no container {identity.id}")
    config = row[0] if isinstance(row[0], bytes) else str(row[0]).encode()  # podman writes blobs into a TEXT column
    return fields(parse_json(config))


def _from_socket(identity: Identity, socket: str, uid: int) -> Metadata:
    filters = quote(json.dumps({"id": [identity.id]}))
    target = f"/v4.0.0/libpod/containers/json?all=true&filters={filters}"
    for entry in map(fields, items(get_json(socket, target, owner_uid=uid))):
        if entry.get("Id") == identity.id:
            names = [text(name) for name in items(entry.get("Names"))]
            image = text(entry.get("Image"))
            return Metadata(name=names[0] if names else "", image=image, labels=labels(entry.get("Labels")))
    raise Gone(f"podman knows no container {identity.id}")


def _from_files(identity: Identity, places: Places) -> Metadata:
    """Return name and image from the lists of containers/storage: labels are not in them. Raises Gone, Unsupported."""
    for directory in (places.var_lib, places.run):
        for name in _LISTS:
            with suppress(Gone):
                for entry in map(fields, items(read_json(Path(directory, _STORAGE, "overlay-containers", name)))):
                    if entry.get("id") == identity.id:
                        return _from_entry(entry)
    raise Gone(f"podman knows no container {identity.id}")


def _from_entry(entry: dict[str, Any]) -> Metadata:
    names = [text(name) for name in items(entry.get("names"))]
    details = fields(parse_json(text(entry.get("metadata")).encode(errors="surrogatepass") or b"{}"))
    return Metadata(name=names[0] if names else text(details.get("name")), image=text(details.get("image-name")))
