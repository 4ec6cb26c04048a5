"""A guest in which the package is installed: what the tests of the daemon share."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.vm.guest import Guest

DIST = Path(__file__).parents[2] / "dist"
POLICIES = "/etc/governor/policies.d"
CGROUPS = "/sys/fs/cgroup"
CAPS = ("cpu.max", "memory.high", "memory.max", "memory.swap.max", "pids.max")
"""Files of which the smallest value on the way from the scope to the container's processes is the one in force."""
LEAST = r"""cat -- $FILES >/dev/null && cat -- $FILES | awk '
    { share = $1 / ($2 ? $2 : 1) }
    $1 != "max" && (least == "" || share < smallest) { least = $0; smallest = share }
    $1 == "max" { none = $0 }
    END { print (least == "" ? none : least) }'"""


def package() -> Path:
    """Return the package that `make deb` built last; FileNotFoundError where there is none."""
    found = sorted(DIST.glob("governor_*_all.deb"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError("no package in dist/: run make deb")
    return found[-1]


@dataclass
class Container:
    """A container that a test started: its unit or cgroup, as the kernel has it."""

    id: str
    cgroup: str
    payload: str = ""

    @property
    def unit(self) -> str:
        return self.cgroup.rpartition("/")[2]

    def reader(self, file: str) -> str:
        """Return the command that prints what is in force of a cgroup's file; it fails where the container is gone."""
        cgroups = [self.cgroup, self.payload] if self.payload and file in CAPS else [self.cgroup]
        files = " ".join(f"{CGROUPS}{cgroup}/{file}" for cgroup in cgroups)
        return f"cat {files}" if len(cgroups) == 1 else LEAST.replace("$FILES", files)


class Governed:
    """The daemon in its guest, and what people do around it."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def install(self) -> None:
        """Install the package as a user does; the service starts by itself."""
        self.guest.push(package(), "/root/governor.deb")
        script = "apt-get install --quiet --yes /root/governor.deb >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }"
        self.guest.sh(script, timeout=300)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the service is active."""
        self.guest.wait_until('[ "$(systemctl is-active governor)" = active ]', timeout=90)

    def start(self) -> None:
        """Start the service."""
        self.guest.sh("systemctl start governor", timeout=180)

    def stop(self) -> None:
        """Stop the service; every limit is restored when this returns."""
        self.guest.sh("systemctl stop governor", timeout=180)

    def policy(self, name: str, text: str) -> None:
        """Write a policy, atomically as an editor does."""
        path = f"{POLICIES}/{name}.toml"
        self.guest.write(f"{path}.new", text)
        self.guest.run("mv", f"{path}.new", path)

    def no_policy(self, name: str) -> None:
        """Remove a policy."""
        self.guest.run("rm", "-f", f"{POLICIES}/{name}.toml")

    def docker(self, name: str, *options: str, command: str = "sleep 100000") -> Container:
        """Start a docker container without a network."""
        words = " ".join(shlex.quote(option) for option in options)
        script = f"docker run -d --network none --name {name} {words} bb:1 {command}"
        identity = self.guest.sh(script, timeout=180).stdout.strip()
        return Container(identity, f"/system.slice/docker-{identity}.scope")

    def podman(self, name: str, *options: str, command: str = "sleep 100000") -> Container:
        """Start a podman container without a network."""
        words = " ".join(shlex.quote(option) for option in options)
        script = f"podman run -d --network none --name {name} {words} localhost/bb:1 {command}"
        identity = self.guest.sh(script, timeout=180).stdout.strip()
        scope = f"/machine.slice/libpod-{identity}.scope"
        return Container(identity, scope, f"{scope}/container")

    def quadlet(self, name: str) -> Container:
        """Start a podman container as systemd's own service, from a .container file (podman-systemd.unit(5))."""
        text = f"[Container]\nContainerName={name}\nImage=localhost/bb:1\nExec=sleep 100000\nNetwork=none\n"
        self.guest.write(f"/etc/containers/systemd/{name}.container", text)
        self.guest.sh(f"systemctl daemon-reload && systemctl start {name}.service", timeout=240)
        identity = self.guest.run("podman", "inspect", "-f", "{{.Id}}", name).stdout.strip()
        return Container(identity, f"/system.slice/{name}.service/libpod-payload-{identity}")

    def ctr(self, name: str) -> Container:
        """Start a container with containerd's own client: no unit, a cgroup of its own."""
        self.guest.sh(f"ctr run -d localhost/bb:1 {name} /bin/sleep 100000", timeout=180)
        return Container(name, f"/default/{name}")

    def nspawn(self, name: str = "m1") -> Container:
        """Start an nspawn container; each has a tree of its own, which only one may use."""
        tree = f"/var/lib/machines/{name}"
        self.guest.sh(f"[ -d {tree} ] || cp -a /var/lib/machines/m1 {tree}")
        self.guest.spawn(f"exec systemd-nspawn -q -M {name} -D {tree} --private-network /bin/sleep 100000")
        self.guest.wait_until(f"machinectl show --property Leader --value {name}", timeout=90)
        scope = f"/machine.slice/machine-{name}.scope"
        return Container(name, scope, f"{scope}/payload")

    def scope(self, name: str, command: str = "sleep 100000", *properties: str) -> Container:
        """Start a plain transient scope."""
        words = " ".join(f"-p {shlex.quote(value)}" for value in properties)
        self.guest.sh(
            f"systemd-run -q --unit=run-{name} --property=Type=forking "
            f"sh -c 'systemd-run -q --scope --unit={name}.scope {words} {command} & sleep 0.2'",
        )
        self.guest.wait_until(f"systemctl is-active {name}.scope", timeout=60)
        return Container(name, f"/system.slice/{name}.scope")

    def value(self, container: Container, file: str) -> str:
        """Return what the kernel says at the container's cgroup, or at its payload's where that is less."""
        return self.guest.sh(container.reader(file)).stdout.strip()

    def wait_value(self, container: Container, file: str, value: str, timeout: float = 30.0) -> None:
        """Wait until the kernel says `value`."""
        self.guest.wait_until(
            f'now=$({container.reader(file)}); echo "$now"; [ "$now" = {shlex.quote(value)} ]', timeout
        )

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the daemon's journal entries with these matches."""
        done = self.guest.run("journalctl", "--no-pager", "-o", "json", "SYSLOG_IDENTIFIER=governor", *matches)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ctl(self, *arguments: str) -> Any:
        """Return what governorctl prints as JSON."""
        return json.loads(self.guest.run("governorctl", *arguments, "--json").stdout)

    def guest_json(self, script: str) -> Any:
        """Return what a script prints as JSON, whatever its exit code."""
        return json.loads(self.guest.sh(script, check=False).stdout)

    def explained(self, container: Container) -> dict[str, dict[str, Any]]:
        """Return what `governorctl explain` says of each property."""
        return {row["Property"]: row for row in self.ctl("explain", container.id)}

    def ledger_is_empty(self) -> bool:
        """Tell whether nothing is leased any more."""
        return self.guest.sh("ls /run/governor/ledger 2>/dev/null | wc -l").stdout.strip() == "0"
