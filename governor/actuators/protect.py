"""What is never written, whatever a policy says (promise 4)."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.model.container import Container
    from governor.model.policy import HostSettings

CRITICAL_UNITS = (
    "dbus.service",
    "dbus-broker.service",
    "systemd-*.service",
    "init.scope",
    "polkit.service",
    "ssh.service",
    "ssh@*.service",
    "sshd.service",
    "sshd@*.service",
    "getty@*.service",
    "serial-getty@*.service",
    "session-*.scope",
    "user@*.service",
    "user-runtime-dir@*.service",
    "docker.service",
    "containerd.service",
    "crio.service",
    "podman.service",
    "cri-docker.service",
    "lxc*.service",
    "libvirtd.service",
    "kubelet.service",
    "k3s*.service",
    "NetworkManager.service",
    "libpod-conmon-*.scope",
    "crio-conmon-*.scope",
    "governor*.service",
)
"""Units without which a host cannot be reached, repaired or run containers; nspawn's template is the one exception."""

_CONTAINER_SERVICES = ("systemd-nspawn@*.service",)
_OWN_UNIT = "governor.service"


def refusal(container: Container, settings: HostSettings, own_cgroup: str) -> str | None:
    """Return why `container` must not be written, in words for a person, or None where it may be."""
    if container.cgroup in ("", "/") or container.cgroup.endswith(".slice"):
        return "slices and the root cgroup are never written: they hold what is not governed"
    if own_cgroup != "/" and _contains(container.cgroup, own_cgroup):
        return "the governor itself runs there"
    if _critical(container.unit) or any(_critical(part) for part in _enclosing(container)):
        return f"{container.unit or container.cgroup} is critical to the host"
    if any(fnmatchcase(container.unit or container.cgroup, pattern) for pattern in settings.protected):
        return "listed under protected in governor.toml"
    if _in_kubepods(container) and not settings.kubernetes_write:
        return "the kubelet owns kubepods; set kubernetes.write = true in governor.toml to write there all the same"
    return None


def _contains(cgroup: str, inner: str) -> bool:
    return inner == cgroup or inner.startswith(cgroup.rstrip("/") + "/")


def _critical(unit: str) -> bool:
    if any(fnmatchcase(unit, pattern) for pattern in _CONTAINER_SERVICES):
        return False
    return any(fnmatchcase(unit, pattern) for pattern in CRITICAL_UNITS)


def _enclosing(container: Container) -> tuple[str, ...]:
    """Return the units around the container's cgroup that make it critical: all but a user's own manager."""
    parts = container.cgroup.strip("/").split("/")[:-1]
    return tuple(part for part in parts if not part.startswith("user@"))


def _in_kubepods(container: Container) -> bool:
    return container.pod is not None or any("kubepods" in part for part in container.cgroup.split("/"))
