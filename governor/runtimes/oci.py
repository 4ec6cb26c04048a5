"""OCI bundles: the config.json that a runtime hands to runc or crun, in a directory that only root may write.

It tells names, images and whether a container is only a pod's sandbox, without gRPC and without a client library
(opencontainers/runtime-spec, config.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from governor.model.errors import Gone
from governor.runtimes.untrusted import fields, labels, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.runtimes.paths import Places

CONTAINERD_STATES = ("containerd", "k3s/containerd", "docker/containerd/daemon")
"""Below /run: the distribution's containerd, k3s's and rke2's, and the one that a lone dockerd starts."""

_TASKS = "io.containerd.runtime.v2.task"


def containerd_bundle(namespace: str, container_id: str, places: Places) -> Mapping[str, str]:
    """Return the annotations of a container that containerd runs in `namespace`. Raises Gone or Unsupported."""
    for state in CONTAINERD_STATES:
        bundle = Path(places.run, state, _TASKS, namespace, container_id)
        if bundle.is_dir():
            return read_annotations(bundle / "config.json")
    raise Gone(f"containerd runs no {container_id!r} in {namespace!r}")


def storage_bundle(container_id: str, places: Places) -> Mapping[str, str]:
    """Return the annotations of a container that CRI-O or podman runs as root. Raises Gone or Unsupported."""
    places_of_bundles = (
        Path(places.run, "containers/storage/overlay-containers"),
        Path(places.var_lib, "containers/storage/overlay-containers"),
    )
    for directory in places_of_bundles:
        config = directory / container_id / "userdata/config.json"
        if config.is_file():
            return read_annotations(config)
    raise Gone(f"no bundle of {container_id!r}")


def read_annotations(config: Path) -> Mapping[str, str]:
    """Return the annotations in a config.json. Raises Gone or Unsupported."""
    return labels(fields(read_json(config)).get("annotations"))
