"""containerd: the CRI plugin's cri-containerd-<id>.scope, nerdctl's scopes, and ctr's /<namespace>/<id>.

containerd: internal/cri/server, cmd/ctr; nerdctl: pkg/cmd/container. A path of two arbitrary names is a container only
if containerd runs one with that id in that namespace, and a pod's sandbox has the same kind of scope as its containers:
both are settled by confirm(), from the bundle that containerd keeps for the runtime.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from governor.model.container import Identity, Metadata
from governor.model.errors import Gone, Unsupported
from governor.runtimes import docker, kubernetes, oci
from governor.runtimes.paths import ID, Places, is_id, names_of, owner_namespace, owner_uid, without_units
from governor.runtimes.untrusted import labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.container import Pod

CRI_NAMESPACE = "k8s.io"
_CRI_SCOPE = re.compile(rf"cri-containerd-({ID})\.scope")
_CRI_MISCONFIGURED = re.compile(rf"[^:]*:cri-containerd:({ID})")
"""The systemd form of the path handed to a runtime with the cgroupfs driver."""

_NERDCTL = re.compile(rf"nerdctl-({ID})\.scope")
_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
"""containerd: pkg/identifiers/validate.go, with at most 76 characters."""

_MAX_IDENTIFIER = 76
_OTHERS = ("docker", "actions_job", "kubepods", "kubelet", "lxc", "libpod_parent", "machine", "buildkit", "moby")
_ANNOTATIONS = {
    kubernetes.POD_NAME: "io.kubernetes.cri.sandbox-name",
    kubernetes.POD_NAMESPACE: "io.kubernetes.cri.sandbox-namespace",
    kubernetes.CONTAINER_NAME: "io.kubernetes.cri.container-name",
}


def recognise(path: str) -> Identity | None:
    """Return the identity of a container of containerd's, from its path alone; two plain names are a guess."""
    names = names_of(path)
    pod = kubernetes.pod_of(path)
    if (match := _CRI_SCOPE.fullmatch(names[-1]) or _CRI_MISCONFIGURED.fullmatch(names[-1])) is not None:
        return _identity(CRI_NAMESPACE, match[1], path, pod or _misplaced_pod(names[-1]))
    if (match := _NERDCTL.fullmatch(names[-1])) is not None:
        return _identity("default", match[1], path, None)
    if pod is not None and is_id(names[-1]):
        return _identity(CRI_NAMESPACE, names[-1], path, pod)
    if _is_namespace_and_id(names):
        return Identity(runtime="containerd", id=names[1], namespace=names[0], name=names[1])
    return None


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`, docker's where docker made the cgroup, or None for a sandbox or what nobody knows."""
    try:
        annotations = oci.containerd_bundle(identity.namespace, identity.id, places)
    except Unsupported:
        return identity
    except Gone:
        if is_id(identity.id) and without_units(names_of(path)) and docker.runs(identity.id, places):
            return docker.confirm(Identity(runtime="docker", id=identity.id, pod=identity.pod), path, places)
        return None if _is_namespace_and_id(names_of(path)) else identity
    return None if annotations.get("io.kubernetes.cri.container-type") == "sandbox" else identity


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return what the bundle tells: its annotations are the labels, with the kubelet's names. Raises Gone, Unsupported.

    Labels that only containerd's own database has (pods' labels, ctr --label) are not among them.
    """
    if owner_uid(path) is not None:
        raise Unsupported("the state of a rootless containerd lies in a mount namespace of its own")
    annotations = oci.containerd_bundle(identity.namespace, identity.id, places)
    return Metadata(
        name=_name(identity, annotations),
        image=annotations.get("io.kubernetes.cri.image-name", ""),
        labels=labels({**annotations, **_kubelet_labels(annotations)}),
    )


def _name(identity: Identity, annotations: Mapping[str, str]) -> str:
    known = (annotations.get(key) for key in ("io.kubernetes.cri.container-name", "nerdctl/name"))
    return next((name for name in known if name), identity.name)


def _kubelet_labels(annotations: Mapping[str, str]) -> dict[str, str]:
    return {label: annotations[key] for label, key in _ANNOTATIONS.items() if key in annotations}


def _identity(namespace: str, container_id: str, path: str, pod: Pod | None) -> Identity:
    return Identity(runtime="containerd", id=container_id, namespace=owner_namespace(path) or namespace, pod=pod)


def _misplaced_pod(name: str) -> Pod | None:
    """Return the pod of which a misconfigured path keeps the slice within its last name."""
    return kubernetes.pod_of(f"/{name.partition(':')[0]}/x") if ":" in name else None


def _is_namespace_and_id(names: tuple[str, ...]) -> bool:
    return (
        len(names) == 2  # noqa: PLR2004 -- a namespace and an id
        and without_units(names)
        and names[0] not in _OTHERS
        and all(len(name) <= _MAX_IDENTIFIER and _IDENTIFIER.fullmatch(name) for name in names)
    )
