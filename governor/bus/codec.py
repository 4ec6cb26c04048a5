"""Values of limits to D-Bus variants and back, strictly: wrong types and ranges never reach PID 1.

Formats: org.freedesktop.systemd1(5) for the signatures, systemd's src/core/dbus-cgroup.c for the ranges,
src/shared/cpu-set-util.c for the bitmaps. systemd prepends to its lists, so what is read back comes in any order:
`decode` sorts lists, and two readings of the same limit compare equal.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from governor.bus.library import Variant
from governor.model.directives import BY_PROPERTY, Kind
from governor.model.values import CPU_WEIGHT_IDLE, INFINITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.model.values import Value

_UINT32_MAX = 2**32 - 1
_UINT16_MAX = 2**16 - 1
_MAX_CPUS = 8192
"""Linux's NR_CPUS goes no further."""
_MAX_NAME = 4096
"""Linux's PATH_MAX."""
_PERMYRIAD = 10_000
_WEIGHT_MAX = 10_000
_IPPROTO_ANY = 0
_FAMILY = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_CHOICES = {
    Kind.DEVICE_POLICY: ("auto", "closed", "strict"),
    Kind.OOM_MODE: ("auto", "kill"),
}
ARRAYS = frozenset({"a(st)", "a(ss)", "a(iayu)", "a(iiqq)", "(bas)"})
"""Signatures of properties that systemd adds to: the old value goes only if an empty one is sent first."""


def signature_of(property_name: str) -> str:
    """Return the D-Bus signature of a limit's property; raises TypeError for one that is no limit."""
    try:
        return BY_PROPERTY[property_name].signature
    except KeyError:
        raise TypeError(f"{property_name} is no property of systemd.resource-control") from None


def encode(property_name: str, value: Value) -> Variant:
    """Return `value` as systemd takes it; raises TypeError or ValueError for a value that no limit can have.

    A Share must be resolved before: what the host has is not known here.
    """
    signature = signature_of(property_name)
    checked = _CHECKS[signature](BY_PROPERTY[property_name].kind, value)
    return Variant(signature, _to_wire(signature, checked))


def encode_empty(property_name: str, value: Value) -> Variant | None:
    """Return what empties the property before `value` is sent; None where sending `value` replaces the old one."""
    signature = signature_of(property_name)
    if signature not in ARRAYS:
        return None
    if signature == "(bas)":
        assert isinstance(value, tuple)
        return Variant(signature, [value[0], []])
    return Variant(signature, [])


def decode(property_name: str, raw: Any) -> Value:
    """Return the value that `raw` (a variant, or a variant's value) stands for.

    Raises TypeError or ValueError where it is not what the property's signature and range allow.
    """
    signature = signature_of(property_name)
    if isinstance(raw, Variant):
        if raw.signature != signature:
            raise TypeError(f"{property_name} has the signature {signature}, not {raw.signature}")
        raw = raw.value
    value: Value = _CHECKS[signature](BY_PROPERTY[property_name].kind, _from_wire(signature, raw))
    return value


def _to_wire(signature: str, value: Any) -> Any:
    match signature:
        case "ay":
            return sum(1 << cpu for cpu in value).to_bytes((max(value, default=-1) + 8) // 8, "little")
        case "u":
            # systemd's UINT32_SCALE_FROM_PERMYRIAD: a share of 2^32 - 1, rounded
            return (value * _UINT32_MAX + _PERMYRIAD // 2) // _PERMYRIAD
        case "a(iayu)":
            networks = [ipaddress.ip_network(network) for network in value]
            return [[_FAMILY[net.version], net.network_address.packed, net.prefixlen] for net in networks]
        case "(bas)":
            return [value[0], list(value[1])]
        case "a(st)" | "a(ss)" | "a(iiqq)":
            return [list(item) for item in value]
        case _:
            return value


def _from_wire(signature: str, raw: Any) -> Any:
    match signature:
        case "ay":
            bits = int.from_bytes(raw, "little")
            if bits.bit_length() > _MAX_CPUS:
                raise ValueError(f"a bitmap of {bits.bit_length()} bits; at most {_MAX_CPUS} are possible")
            return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)
        case "u":
            # systemd's UINT32_SCALE_TO_PERMYRIAD
            return (_integer(raw, 0, _UINT32_MAX) * _PERMYRIAD + _UINT32_MAX // 2) // _UINT32_MAX
        case "a(iayu)":
            return tuple(sorted(_network(*item) for item in raw))
        case "(bas)":
            return (raw[0], tuple(sorted(raw[1])))
        case "a(st)" | "a(ss)" | "a(iiqq)":
            return tuple(sorted(tuple(item) for item in raw))
        case _:
            return raw


def _network(family: int, address: bytes, prefix_length: int) -> str:
    version = ipaddress.IPv4Network if family == socket.AF_INET else ipaddress.IPv6Network
    expected_bytes = 4 if family == socket.AF_INET else 16
    if family not in _FAMILY.values() or len(address) != expected_bytes:
        raise ValueError(f"no address of family {family}: {len(address)} bytes")
    return str(version((bytes(address), prefix_length), strict=False))


def _integer(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    if not value or "\0" in value or len(value) > _MAX_NAME or not value.isprintable():
        raise ValueError(f"{value[:80]!r} is no name")
    return value


def _items(value: Any, length: int) -> tuple[tuple[Any, ...], ...]:
    if not isinstance(value, tuple) or any(not isinstance(item, tuple) or len(item) != length for item in value):
        raise TypeError(f"{value!r} is no tuple of tuples of {length}")
    return value


def _check_uint64(kind: Kind, value: Any) -> int:
    number = _integer(value, 0, INFINITY)
    weighs = kind in (Kind.WEIGHT, Kind.CPU_WEIGHT)
    idle = kind is Kind.CPU_WEIGHT and number == CPU_WEIGHT_IDLE
    if weighs and number != INFINITY and not idle:
        return _integer(number, 1, _WEIGHT_MAX)
    return _integer(number, 1, INFINITY) if kind in (Kind.CPU_PERCENT, Kind.TASKS) else number


def _check_share(_kind: Kind, value: Any) -> int:
    return _integer(value, 0, _PERMYRIAD)


def _check_boolean(_kind: Kind, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is no boolean")
    return value


def _check_choice(kind: Kind, value: Any) -> str:
    choices = _CHOICES[kind]
    if _text(value) not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return str(value)


def _check_mask(_kind: Kind, value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"{value!r} is no tuple of CPUs")
    return tuple(sorted({_integer(cpu, 0, _MAX_CPUS - 1) for cpu in value}))


def _check_devices(kind: Kind, value: Any) -> tuple[tuple[str, int], ...]:
    least, most = (1, _WEIGHT_MAX) if kind is Kind.DEVICE_WEIGHT else (0, INFINITY)
    checked = tuple((_text(path), _integer(number, least, most)) for path, number in _items(value, 2))
    if any(not path.startswith("/") for path, _ in checked):
        raise ValueError(f"{checked!r}: a device is an absolute path")
    return checked


def _check_device_access(_kind: Kind, value: Any) -> tuple[tuple[str, str], ...]:
    checked = tuple((_text(pattern), access) for pattern, access in _items(value, 2))
    if any(not isinstance(access, str) or not set(access) <= set("rwm") for _, access in checked):
        raise ValueError(f"{checked!r}: access is made of r, w and m")
    return checked


def _check_networks(_kind: Kind, value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"{value!r} is no tuple of networks")
    return tuple(str(ipaddress.ip_network(_text(network))) for network in value)


def _check_ports(_kind: Kind, value: Any) -> tuple[tuple[int, ...], ...]:
    families = (int(socket.AF_UNSPEC), *_FAMILY.values())
    protocols = (_IPPROTO_ANY, int(socket.IPPROTO_TCP), int(socket.IPPROTO_UDP))
    for family, protocol, ports, first in _items(value, 4):
        if family not in families or protocol not in protocols:
            raise ValueError(f"family {family!r} or protocol {protocol!r} is not one that can be bound")
        _integer(ports, 0, _UINT16_MAX)
        _integer(first, 0, _UINT16_MAX)
    return _items(value, 4)


def _check_interfaces(_kind: Kind, value: Any) -> tuple[bool, tuple[str, ...]]:
    match value:
        case (bool(is_allow_list), tuple(names)):
            return is_allow_list, tuple(_text(name) for name in names)
        case _:
            raise TypeError(f"{value!r} is not (is an allow-list, names)")


_CHECKS: dict[str, Callable[[Kind, Any], Any]] = {
    "t": _check_uint64,
    "u": _check_share,
    "b": _check_boolean,
    "s": _check_choice,
    "ay": _check_mask,
    "a(st)": _check_devices,
    "a(ss)": _check_device_access,
    "a(iayu)": _check_networks,
    "a(iiqq)": _check_ports,
    "(bas)": _check_interfaces,
}
