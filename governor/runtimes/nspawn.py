"""systemd-nspawn: machine-<name>.scope, systemd-nspawn@<name>.service, and any service with --keep-unit.

systemd: src/nspawn/nspawn-cgroup.c, src/machine/machine-dbus.c. The processes sit in a child `payload`, beside
`supervisor` in a kept unit. Virtual machines register the same kind of scope; libvirt's are told by their names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from governor.model.container import Identity, Metadata
from governor.runtimes.paths import names_of, owner_namespace

if TYPE_CHECKING:
    from governor.runtimes.paths import Places

_SCOPE = re.compile(r"machine-(.+)\.scope", re.DOTALL)
_TEMPLATE = re.compile(r"systemd-nspawn@(.+)\.service", re.DOTALL)
_LIBVIRT = re.compile(r"(?:qemu|lxc)-[0-9]+-.*", re.DOTALL)
"""libvirt: src/util/virsystemd.c, virSystemdMakeMachineName; such a scope is a virtual machine's."""

_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


def recognise(path: str) -> Identity | None:
    """Return the identity of an nspawn container, from its path alone; the name is the id."""
    *parents, name = names_of(path)
    match = _SCOPE.fullmatch(name) or _TEMPLATE.fullmatch(name)
    if match is not None:
        return _identity(unescape(match[1]), path)
    if name == "payload" and parents and parents[-1].endswith(".service") and not _TEMPLATE.fullmatch(parents[-1]):
        return _identity(unescape(parents[-1].removesuffix(".service")), path)
    return None


def confirm(identity: Identity, path: str, places: Places) -> Identity | None:
    """Return `identity`; for a kept unit only where nspawn's supervisor has its cgroup beside the payload."""
    if names_of(path)[-1] != "payload":
        return identity
    return identity if Path(f"{places.cgroup}{path}").with_name("supervisor").is_dir() else None


def metadata(identity: Identity, path: str, places: Places) -> Metadata:
    """Return the name: nspawn has no labels and no images."""
    del path, places
    return Metadata(name=identity.name)


def unescape(text: str) -> str:
    r"""Return `text` with systemd's \xNN escapes undone (systemd: src/basic/unit-name.c), but "-" left as it is."""
    data = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), os.fsencode(text))
    return os.fsdecode(data)


def _identity(name: str, path: str) -> Identity | None:
    if _LIBVIRT.fullmatch(name):
        return None
    return Identity(runtime="nspawn", id=name, namespace=owner_namespace(path), name=name)
