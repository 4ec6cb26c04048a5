"""Networks, ports and network interfaces in systemd's own spelling, to the values of model/values.py and back.

The grammars are those of IPAddressAllow=, SocketBindAllow= and RestrictNetworkInterfaces= in
systemd.resource-control(5). Each parser raises ValueError with the reason where systemd would refuse the text.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

SocketBind: TypeAlias = tuple[int, int, int, int]
"""Family, protocol, number of ports and first port; 0 is any, as in systemd's a(iiqq)."""

WORDS: Final = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}
"""systemd's symbolic names for networks."""

MAX_SOCKET_BIND_RULES: Final = 128
"""systemd's CGROUP_SOCKET_BIND_MAX."""

_FAMILIES: Final = {"ipv4": int(AF_INET), "ipv6": int(AF_INET6)}
_PROTOCOLS: Final = {"tcp": int(IPPROTO_TCP), "udp": int(IPPROTO_UDP)}
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MAX_PORT: Final = 65535
# ifname_valid_full() in systemd's socket-util.c; 15 is the kernel's IFNAMSIZ less its NUL.
_INTERFACE = re.compile(r"(?![0-9]+\Z)[!-$&-.0-9;-~]{1,15}")
_NOT_INTERFACES: Final = frozenset({".", "..", "all", "default"})


def networks(word: str) -> tuple[str, ...]:
    """Return the networks that one word means, host bits masked: `10.1.2.3/8` is `10.0.0.0/8`, `any` is two."""
    if word in WORDS:
        return WORDS[word]
    address, slash, prefix = word.partition("/")
    # ip_network() takes netmasks and scope ids as well, systemd does not.
    if "%" in address or (slash and not re.fullmatch(r"[0-9]{1,3}", prefix)):
        raise ValueError("is not an address or network")
    try:
        return (str(ip_network(word, strict=False)),)
    except ValueError as error:
        raise ValueError("is not an address or network") from error


def canonical_networks(found: Iterable[str]) -> tuple[str, ...]:
    """Return networks sorted, once each and without those that another covers.

    systemd keeps them as a set that it reduces in this way, so two lists that mean the same become equal.
    """
    ordered = sorted({ip_network(network) for network in found}, key=_covering_first)
    kept: list[IPv4Network | IPv6Network] = []
    for network in ordered:
        if not (kept and _covers(kept[-1], network)):
            kept.append(network)
    return tuple(str(network) for network in kept)


def spell_networks(value: tuple[str, ...]) -> list[str]:
    """Return networks as a list, with systemd's words where both networks of a word are there."""
    rest, words = list(value), []
    for word, pair in WORDS.items():
        if all(network in rest for network in pair):
            words.append(word)
            rest = [network for network in rest if network not in pair]
    return words + rest


def socket_bind(text: str) -> SocketBind:
    """Return one rule, `[ipv4:|ipv6:][tcp:|udp:][PORT[-PORT]]` or `any`; no ports means every port."""
    fields = text.split(":")
    family = _FAMILIES[fields.pop(0)] if fields[0] in _FAMILIES else 0
    protocol = _PROTOCOLS[fields.pop(0)] if fields and fields[0] in _PROTOCOLS else 0
    ports, first = _ports(fields.pop(0)) if fields else (0, 0)
    if fields:
        raise ValueError("has its parts out of order")
    return (family, protocol, ports, first)


def spell_socket_bind(rule: SocketBind) -> str:
    """Return one rule as it is written in a unit file."""
    family, protocol, ports, first = rule
    words = [name for name, number in (_FAMILIES | _PROTOCOLS).items() if number in (family, protocol) and number]
    if ports:
        words.append(str(first) if ports == 1 else f"{first}-{first + ports - 1}")
    return ":".join(words) or "any"


def interface(name: str) -> str:
    """Return `name` where it can be that of a network interface; raise ValueError where not."""
    if name in _NOT_INTERFACES or not _INTERFACE.fullmatch(name):
        raise ValueError("is not the name of a network interface")
    return name


def _covering_first(network: IPv4Network | IPv6Network) -> tuple[int, int, int]:
    return (network.version, int(network.network_address), network.prefixlen)


def _covers(wide: IPv4Network | IPv6Network, narrow: IPv4Network | IPv6Network) -> bool:
    """Return whether `wide` contains `narrow`; networks of two versions never contain one another."""
    return wide.prefixlen <= narrow.prefixlen and narrow.network_address in wide


def _ports(text: str) -> tuple[int, int]:
    """Return the number of ports and the first one."""
    if text == "any":
        return (0, 0)
    found = _PORTS.fullmatch(text)
    if found is None:
        raise ValueError("is not a family, a protocol or a port")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= _MAX_PORT:
        raise ValueError("has ports that do not run upwards from 1 to 65535")
    return (last - first + 1, first)
