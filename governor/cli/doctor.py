"""doctor: what this host offers, and what the lack of each thing turns off.

The daemon knows best and is asked first. Without it the kernel and systemd are asked for features (never for versions),
as far as that needs no privileges.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from governor.cli import output
from governor.cli.client import ask
from governor.cli.exits import Exit, verdict
from governor.model.errors import ActuationError, Unsupported

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

CONTROLLERS: Final = {
    "cpu": "CPUWeight=, CPUQuota= and CPUBurst= do nothing",
    "cpuset": "AllowedCPUs= and AllowedMemoryNodes= do nothing",
    "io": "IOWeight= and IO…Max= do nothing",
    "memory": "Memory…= does nothing",
    "pids": "TasksMax= does nothing",
}
"""The cgroup v2 controllers that limits need, and what their absence means."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature: whether it is there, and what it is for or what its absence turns off."""

    feature: str
    available: bool
    explanation: str


def doctor(arguments: Namespace) -> int:
    """Print each feature; 0 if all are there, 1 if one is missing, 5 if the daemon could not be asked."""
    try:
        rows = ask(lambda client: client.manager("Doctor"))[0]
        findings, code, complaint = [Finding(*row) for row in rows], Exit.OK, ""
    except (Unsupported, ActuationError) as error:
        findings, code, complaint = list(probe()), Exit.NOT_RUNNING, verdict(error).text
    if code is Exit.OK and not all(finding.available for finding in findings):
        code = Exit.FAILURE
    _print(arguments, findings, complaint)
    return code


def _print(arguments: Namespace, findings: list[Finding], complaint: str) -> None:
    if arguments.json:
        rows = [{"feature": f.feature, "available": f.available, "explanation": f.explanation} for f in findings]
        output.print_json({"daemon": not complaint, "features": rows})
    else:
        output.print_table(("FEATURE", "FOUND", "MEANING"), [_row(finding) for finding in findings])
    if complaint:
        output.complain(f"the daemon did not answer ({complaint}); these are only the probes that need no daemon")


def _row(finding: Finding) -> tuple[str, str, str]:
    found = output.styled("yes", "green") if finding.available else output.styled("no", "red")
    return output.name(finding.feature), found, output.safe(finding.explanation)


def probe(root: Path = Path("/")) -> Iterator[Finding]:
    """Yield what can be found out without privileges on the host whose root directory is `root`."""
    controllers = _text(root / "sys/fs/cgroup/cgroup.controllers")
    yield Finding(
        "cgroup-v2", controllers is not None, "the unified hierarchy at /sys/fs/cgroup; without it nothing works"
    )
    for controller, meaning in CONTROLLERS.items():
        yield Finding(f"controller-{controller}", controller in (controllers or "").split(), f"without it {meaning}")
    yield Finding("psi", _text(root / "proc/pressure/memory") is not None, "pressure; without it no early wake-up")
    yield Finding("systemd", (root / "run/systemd/system").is_dir(), "the service manager; without it nothing works")
    yield Finding("system-bus", (root / "run/dbus/system_bus_socket").exists(), "D-Bus; without it nothing works")
    yield Finding("journal", (root / "run/systemd/journal/socket").exists(), "without it messages go to standard error")
    yield Finding("btf", (root / "sys/kernel/btf/vmlinux").exists(), "types of the kernel; without it no eBPF program")
    lsm = (_text(root / "sys/kernel/security/lsm") or "").split(",")
    yield Finding("bpf-lsm", "bpf" in lsm, "the kernel's bpf LSM; without it some system call rules are refused")
    docker, podman = root / "run/docker.sock", root / "run/podman/podman.sock"
    yield Finding("docker-socket", docker.exists(), "names, images and labels of docker's containers")
    yield Finding("podman-socket", podman.exists(), "names, images and labels of podman's containers")


def _text(path: Path) -> str | None:
    """Return what a file of the kernel says, None where there is none or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
