"""CRI-O: crio-<id>.scope in a pod's slice; the sandbox has the same name without .scope, the monitor crio-conmon-.

cri-o: internal/config/cgmgr/systemd_linux.go. With cgroupfs a sandbox is told from a container by its bundle.
"""

from __future__ import annotations

import re
from contextlib import suppress

from governor.model.container import Identity, Metadata
from governor.model.errors import Gone, Unsupported
from governor.runtimes import kubernetes, oci
from governor.runtimes.paths import ID, Places, names_of, owner_namespace
from governor.runtimes.untrusted import fields, labels, parse_json

_NAME = re.compile(rf"crio-({ID})(\.scope)?")
_PREFIX = "io.kubernetes.cri-o."
"""cri-o: pkg/annotations."""


def recognise(path: str) -> Identity | None:
    """Return the identity of a CRI-O container, from its path alone."""
    *parents, name = names_of(path)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    if match[2] is None and parents and parents[-1].endswith(".slice"):
        return None  # the systemd driver's sandbox
    return Identity(runtime="crio", id=match[1], namespace=owner_namespace(path), pod=kubernetes.pod_of(path))


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`, or None for a pod's sandbox."""
    del path
    with suppress(Gone, Unsupported):
        kind = oci.storage_bundle(identity.id, places).get(f"{_PREFIX}ContainerType")
        return None if kind == "sandbox" else identity
    return identity


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return name, image and labels from the bundle that CRI-O keeps. Raises Gone or Unsupported."""
    del path
    annotations = oci.storage_bundle(identity.id, places)
    image = annotations.get(f"{_PREFIX}ImageName", "")
    given = fields(parse_json(annotations.get(f"{_PREFIX}Labels", "{}").encode(errors="surrogatepass")))
    name = annotations.get(kubernetes.CONTAINER_NAME, "")
    return Metadata(name=name, image=image, labels=labels({**annotations, **given}))
