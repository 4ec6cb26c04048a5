"""What systemd enforces with BPF programs, as the kernel has it: these properties have no file to read back.

systemd only logs it when the kernel, or its own build, has no such program, and on the bus the property looks as if it
were in force. And where it attaches with links (bpf-socket-bind.c, bpf-restrict-ifaces.c) it never takes one away: it
forgets the old link when it makes the next, and makes none for an emptied list. The old rules would go on until systemd
executes itself anew, so the links that it has forgotten are detached here.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.kernel import bpf
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.kernel.cgroup import Cgroup
    from governor.model.values import Value

_EMPTY = (False, (), (False, ()), (True, ()))


@dataclass(frozen=True, slots=True)
class Group:
    """Properties that the same programs enforce, and where these are attached under which name."""

    properties: tuple[str, ...]
    programs: tuple[tuple[int, str], ...]
    linked: bool


GROUPS = (
    Group(
        ("IPAccounting", "IPAddressAllow", "IPAddressDeny"),
        ((bpf.CGROUP_INET_INGRESS, "sd_fw_ingress"), (bpf.CGROUP_INET_EGRESS, "sd_fw_egress")),
        linked=False,
    ),
    Group(
        ("SocketBindAllow", "SocketBindDeny"),
        ((bpf.CGROUP_INET4_BIND, "sd_bind4"), (bpf.CGROUP_INET6_BIND, "sd_bind6")),
        linked=True,
    ),
    Group(
        ("RestrictNetworkInterfaces",),
        ((bpf.CGROUP_INET_INGRESS, "sd_restrictif_i"), (bpf.CGROUP_INET_EGRESS, "sd_restrictif_e")),
        linked=True,
    ),
)
_LINKED = tuple(group for group in GROUPS if group.linked)
PROPERTIES = frozenset(name for group in GROUPS for name in group.properties)


def unenforced(cgroup: Cgroup, held: Mapping[str, Value], newer_than: int = 0) -> frozenset[str]:
    """Return the properties in `held` that the kernel does not enforce as systemd holds them. Raises Gone.

    A list that is not empty needs its programs, and by a link with an id above `newer_than` where systemd uses links.
    Without any, no link may be left. Where the kernel does not let us look, nothing is claimed.
    """
    try:
        wrong = [group for group in GROUPS if not _as_held(cgroup, group, held, newer_than)]
    except Unsupported:
        return frozenset()
    return frozenset(name for group in wrong for name in group.properties if name in held)


def newest_link(cgroup: Cgroup) -> int:
    """Return the id of the newest link of systemd's to `cgroup`, 0 where there is none or we may not look."""
    try:
        names = {name for group in _LINKED for _, name in group.programs}
        return max((link.id for link in _links(cgroup, names)), default=0)
    except Unsupported:
        return 0


def drop_forgotten(cgroup: Cgroup, held: Mapping[str, Value]) -> None:
    """Detach every link to `cgroup` that systemd has forgotten: all but the newest of each program.

    The newest goes too where `held` names a group's properties and all of them are empty. Raises Gone, Unsupported.
    """
    for group in _LINKED:
        attached = _attached(cgroup, group)
        empty = _is_named(group, held) and not _restricts(group, held)
        if attached and (empty or max(attached.values()) > 1):
            _drop(cgroup, group, keep=0 if empty else 1)


def _drop(cgroup: Cgroup, group: Group, keep: int) -> None:
    for _, name in group.programs:
        links = sorted(_links(cgroup, {name}), key=lambda link: link.id)
        for link in links[: len(links) - keep]:
            with contextlib.suppress(Gone):
                bpf.detach(link)


def _as_held(cgroup: Cgroup, group: Group, held: Mapping[str, Value], newer_than: int) -> bool:
    if not _is_named(group, held):
        return True
    attached = _attached(cgroup, group)
    if not _restricts(group, held):
        return not (group.linked and attached)
    if any(name not in attached for _, name in group.programs):
        return False
    return not group.linked or all(
        any(link.id > newer_than for link in _links(cgroup, {name})) for _, name in group.programs
    )


def _attached(cgroup: Cgroup, group: Group) -> Counter[str]:
    """Return how often each of the group's programs is attached."""
    mine = {name for _, name in group.programs}
    places = {place for place, _ in group.programs}
    return Counter(name for place in places for name in bpf.attached_names(cgroup.fileno(), place) if name in mine)


def _links(cgroup: Cgroup, names: set[str]) -> list[bpf.Link]:
    return [link for link in bpf.cgroup_links() if link.cgroup_id == cgroup.inode and link.program_name in names]


def _is_named(group: Group, held: Mapping[str, Value]) -> bool:
    return any(name in held for name in group.properties)


def _restricts(group: Group, held: Mapping[str, Value]) -> bool:
    return any(held.get(name, ()) not in _EMPTY for name in group.properties)
