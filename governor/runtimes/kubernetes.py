"""Pods: what the kubelet's part of a cgroup path says, and the names that the runtimes' labels add to it.

Paths: kubernetes pkg/kubelet/cm/cgroup_manager_linux.go. With the systemd driver
kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, - as _>.slice, with cgroupfs
kubepods/burstable/pod<uid>; guaranteed pods have no level of their own; k3s and kind put kubelet.slice/kubelet- or
another prefix before it (k3s#5782).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from governor.model.container import Pod
from governor.runtimes.paths import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
CONTAINER_NAME = "io.kubernetes.container.name"
"""Labels that the kubelet gives every container (pkg/kubelet/types/labels.go)."""

_SLICE = re.compile(r"(?:[^/]*-)?kubepods(?:-(besteffort|burstable))?-pod([0-9A-Za-z_]{1,64})\.slice")
_DIRECTORY = re.compile(r"pod([0-9A-Za-z-]{1,64})")
_LEVELS = ("besteffort", "burstable")


def pod_of(path: str) -> Pod | None:
    """Return the pod to which the cgroup at `path` belongs, directly in the pod's own; None outside of pods."""
    parents = names_of(path)[:-1]
    if not parents:
        return None
    if (match := _SLICE.fullmatch(parents[-1])) is not None:
        return Pod(uid=match[2].replace("_", "-"), qos=match[1] or "guaranteed")
    return _from_directories(parents)


def named(pod: Pod, labels: Mapping[str, str]) -> Pod:
    """Return `pod` with the names that the container's labels give."""
    return replace(
        pod,
        name=labels.get(POD_NAME, pod.name),
        namespace=labels.get(POD_NAMESPACE, pod.namespace),
        container=labels.get(CONTAINER_NAME, pod.container),
    )


def _from_directories(parents: tuple[str, ...]) -> Pod | None:
    match = _DIRECTORY.fullmatch(parents[-1])
    above = parents[:-1]
    if match is None or not above:
        return None
    qos = above[-1] if above[-1] in _LEVELS else "guaranteed"
    top = above[-2:-1] if qos != "guaranteed" else above[-1:]
    return Pod(uid=match[1], qos=qos) if top == ("kubepods",) else None
