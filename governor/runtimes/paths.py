"""What a cgroup path tells without asking anybody, and where runtimes keep what they know.

A path is data of unprivileged origin: whoever has a part of the tree delegated chooses the names below it. So names are
matched in full, by ASCII patterns, and who owns the parents is looked at before a runtime's own namespace is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ID = "[0-9a-f]{64}"
"""The id of a container as docker, podman, CRI-O and the CRI plugin make it."""

UNIT_SUFFIXES = (".slice", ".scope", ".service", ".mount", ".socket", ".swap")
"""A cgroup with such a name is systemd's own (systemd: src/basic/cgroup-util.c)."""

_USER_MANAGER = re.compile(r"/user\.slice/user-([0-9]{1,10})\.slice/user@\1\.service/.")
_HEX64 = re.compile(ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The directories in which runtimes keep sockets and state; tests lay out their own."""

    run: str = "/run"
    var_lib: str = "/var/lib"
    cgroup: str = "/sys/fs/cgroup"


def names_of(path: str) -> tuple[str, ...]:
    """Return the names in a cgroup path, outermost first."""
    return tuple(name for name in path.split("/") if name)


def owner_uid(path: str) -> int | None:
    """Return the uid of the user manager beneath which the cgroup lies; None for what is the system's own."""
    match = _USER_MANAGER.match(path)
    return int(match[1]) if match else None


def owner_namespace(path: str) -> str:
    """Return owner_uid() as Identity.namespace has it: "" for the system."""
    uid = owner_uid(path)
    return "" if uid is None else str(uid)


def is_id(name: str) -> bool:
    """Return whether `name` is 64 lower-case hexadecimal digits."""
    return _HEX64.fullmatch(name) is not None


def without_units(names: tuple[str, ...]) -> bool:
    """Return whether none of `names` is a unit's, so that systemd has no part in the path."""
    return not any(name.endswith(UNIT_SUFFIXES) for name in names)


def parents_are_trusted(path: str, places: Places) -> bool:
    """Return whether the cgroup is there, and all above it are root's or the user's whose manager it lies beneath.

    A service with Delegate= and User= owns its subtree, and may call a cgroup in it whatever it likes.
    """
    cgroup = Path(f"{places.cgroup}{path}")
    above = cgroup.parents[: len(names_of(path)) - 1]
    try:
        return cgroup.is_dir() and {parent.stat().st_uid for parent in above} <= {0, owner_uid(path)}
    except (OSError, ValueError):
        return False
