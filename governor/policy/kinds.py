"""How each kind of directive is written: one table of parsers, spellers and the words for its users.

Each parser takes an item's text and raises ValueError with the reason where systemd would refuse it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from governor.model.directives import Directive, Kind
from governor.model.values import CPU_WEIGHT_IDLE, INFINITY, USEC_PER_SEC, Share, Value
from governor.policy import devices, networks, units
from governor.policy.words import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOT_SET: Final = "[not set]"
"""How `systemctl show` prints a weight that nobody set."""

_MAX_WEIGHT: Final = 10_000
_PARTS_PER_WHOLE: Final = 10_000
# A limit of nothing at all would stop or kill everything: systemd refuses it too (dbus-cgroup.c).
_AT_LEAST_ONE: Final = frozenset({"MemoryHigh", "MemoryMax", "TasksMax"})


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one kind is written: a parser and a speller of one item, and the words for its users."""

    parse: Callable[[str, Directive], Value]
    spell: Callable[[Any], str]
    accepted: str
    example: str | int
    join: Callable[[list[Any]], Value] | None = None
    """What makes the items of a list one value; None where there is but one item."""
    split: Callable[[Any], Iterable[Any]] | None = None
    """The inverse of `join`; None where `spell` writes the whole value as one text."""
    types: tuple[type, ...] = (str,)


def _weight(text: str, _directive: Directive) -> int:
    weight = units.number(text)
    if not 1 <= weight <= _MAX_WEIGHT:
        raise ValueError("is out of range")
    return weight


def _cpu_weight(text: str, directive: Directive) -> int:
    return CPU_WEIGHT_IDLE if text == "idle" else _weight(text, directive)


def _cpu_percent(text: str, _directive: Directive) -> int:
    if text == "infinity":
        return INFINITY
    parts = units.permyriad(text)
    if parts == 0:
        raise ValueError("is no CPU time at all")
    if parts % 100:
        raise ValueError("is not a whole percentage, and systemd stores whole percents in a drop-in")
    return parts * USEC_PER_SEC // _PARTS_PER_WHOLE


def _bytes(text: str, directive: Directive) -> Value:
    return _limit(text, directive, lambda number: units.size(number, units.IEC))


def _tasks(text: str, directive: Directive) -> Value:
    return _limit(text, directive, units.number)


def _limit(text: str, directive: Directive, absolute: Callable[[str], int]) -> Value:
    """Return infinity, a share or an absolute number, at least one where less would stop the container."""
    if text == "infinity":
        return INFINITY
    found: Value = units.share(text) if text.endswith(("%", "\u2030", "\u2031")) else absolute(text)
    if directive.name in _AT_LEAST_ONE and found in (0, Share(0)):
        raise ValueError("would leave nothing at all")
    return found


def _timespan(text: str, _directive: Directive) -> int:
    return units.timespan(text)


def _device_weight(text: str, directive: Directive) -> tuple[str, int]:
    path, weight = devices.device_and_rest(text)
    return path, _weight(weight, directive)


def _device_size(text: str, _directive: Directive) -> tuple[str, int]:
    path, rest = devices.device_and_rest(text)
    limit = INFINITY if rest == "infinity" else units.size(rest, units.SI)
    if limit == 0:
        raise ValueError("would leave nothing at all")
    return path, limit


def _device_timespan(text: str, _directive: Directive) -> tuple[str, int]:
    path, rest = devices.device_and_rest(text)
    return path, units.timespan(rest)


def _permyriad(text: str, _directive: Directive) -> int:
    return units.share(text).parts_per_10000


def _word(*words: str) -> Callable[[str, Directive], str]:
    def parse(text: str, _directive: Directive) -> str:
        if text not in words:
            raise ValueError("is none of them")
        return text

    return parse


def _networks(text: str, _directive: Directive) -> tuple[str, ...]:
    return tuple(network for word in text.split() for network in networks.networks(word))


def _interfaces(text: str, _directive: Directive) -> tuple[bool, tuple[str, ...]]:
    is_deny = text.startswith("~")
    names = tuple(networks.interface(name) for name in text.removeprefix("~").split())
    return (bool(names) and not is_deny, names)


def _one(parse: Callable[[str, Directive], Any]) -> Callable[[str, Directive], Any]:
    """Return `parse` as an item's parser whose value is a tuple of at most one item: the empty text is none."""

    def parse_one(text: str, directive: Directive) -> Any:
        return (parse(text, directive),) if text.strip() else ()

    return parse_one


def _join_devices(lists: list[tuple[tuple[str, Any], ...]]) -> Value:
    pairs = [pair for one in lists for pair in one]
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"names {quoted(name)} {count} times: keep the one that is meant")
    return tuple(sorted(pairs))


def _join_cpus(sets: list[tuple[int, ...]]) -> Value:
    return tuple(sorted({number for numbers in sets for number in numbers}))


def _join_networks(lists: list[tuple[str, ...]]) -> Value:
    return networks.canonical_networks(network for one in lists for network in one)


def _join_socket_bind(lists: list[tuple[networks.SocketBind, ...]]) -> Value:
    rules = tuple(sorted({rule for one in lists for rule in one}))
    if len(rules) > networks.MAX_SOCKET_BIND_RULES:
        raise ValueError(f"has {len(rules)} rules; systemd takes {networks.MAX_SOCKET_BIND_RULES}")
    return rules


def _join_interfaces(lists: list[tuple[bool, tuple[str, ...]]]) -> Value:
    modes = {is_allow for is_allow, names in lists if names}
    if len(modes) > 1:
        raise ValueError("mixes interfaces to allow with interfaces to deny (~): keep one sort")
    names = tuple(sorted({name for _, names in lists for name in names}))
    return (modes == {True}, names)


def _spell_interfaces(value: tuple[bool, tuple[str, ...]]) -> str:
    is_allow, names = value
    return ("" if is_allow or not names else "~") + " ".join(names)


def _spell_weight(value: int) -> str:
    return NOT_SET if value == INFINITY else "idle" if value == CPU_WEIGHT_IDLE else str(value)


def _spell_limit(base: int) -> Callable[[Value], str]:
    def spell_limit(value: Value) -> str:
        if isinstance(value, Share):
            return units.spell_permyriad(value.parts_per_10000)
        return units.spell_size(cast("int", value), base)

    return spell_limit


def _spell_cpu_percent(value: int) -> str:
    if value == INFINITY:
        return "infinity"
    return units.spell_permyriad(value * _PARTS_PER_WHOLE // USEC_PER_SEC)


def _spell_tasks(value: Value) -> str:
    return str(value) if isinstance(value, int) and value != INFINITY else _spell_limit(units.IEC)(value)


def _device_spelling(
    parse: Callable[[str, Directive], Any], spell_rest: Callable[[int], str], accepted: str, written: str
) -> Spelling:
    """Return the spelling of a list of devices, each with a number."""

    def spell_pair(pair: tuple[str, int]) -> str:
        return devices.spell_device(pair[0], spell_rest(pair[1]))

    return Spelling(_one(parse), spell_pair, accepted, written, _join_devices, tuple)


SPELLINGS: Final = {
    Kind.WEIGHT: Spelling(_weight, _spell_weight, "a weight from 1 to 10000", 100, types=(int,)),
    Kind.CPU_WEIGHT: Spelling(_cpu_weight, _spell_weight, "a weight from 1 to 10000 or idle", 100, types=(int,)),
    Kind.CPU_PERCENT: Spelling(
        _cpu_percent, _spell_cpu_percent, "whole percents of one CPU, from 1% up, or infinity", "150%"
    ),
    Kind.TIMESPAN: Spelling(
        _timespan,
        units.spell_timespan,
        "a time span (us, ms, s, min, h; a plain number is seconds)",
        "20ms",
        types=(int,),
    ),
    Kind.BYTES: Spelling(
        _bytes,
        _spell_limit(units.IEC),
        "bytes (with K, M, G, T, P or E, powers of 1024), a percentage of the host's memory, or infinity",
        "512M",
        types=(int,),
    ),
    Kind.TASKS: Spelling(
        _tasks, _spell_tasks, "a number of tasks, a percentage of the host's maximum, or infinity", 4096, types=(int,)
    ),
    Kind.BOOLEAN: Spelling(
        lambda text, _: units.boolean(text),
        lambda value: "yes" if value else "no",
        "yes or no",
        "yes",
        types=(bool, int),
    ),
    Kind.CPU_SET: Spelling(
        lambda text, _: devices.cpu_set(text),
        devices.spell_cpu_set,
        "numbers and ranges, separated by blanks or commas",
        "0-3,8",
        _join_cpus,
        types=(int,),
    ),
    Kind.DEVICE_WEIGHT: _device_spelling(_device_weight, str, "a path and a weight from 1 to 10000", "/dev/sda 200"),
    Kind.DEVICE_BYTES: _device_spelling(
        _device_size,
        lambda value: units.spell_size(value, units.SI),
        "a path and bytes a second (with K, M, G or T, powers of 1000), or infinity",
        "/var 20M",
    ),
    Kind.DEVICE_COUNT: _device_spelling(
        _device_size,
        lambda value: units.spell_size(value, units.SI),
        "a path and operations a second (with K, M, G or T, powers of 1000), or infinity",
        "/dev/sda 1K",
    ),
    Kind.DEVICE_TIMESPAN: _device_spelling(
        _device_timespan, units.spell_timespan, "a path and a time span", "/dev/sda 25ms"
    ),
    Kind.NETWORKS: Spelling(
        _networks,
        str,
        "addresses, networks, and the words any, localhost, link-local and multicast",
        "10.0.0.0/8",
        _join_networks,
        networks.spell_networks,
    ),
    Kind.SOCKET_BIND: Spelling(
        _one(lambda text, _: networks.socket_bind(text)),
        networks.spell_socket_bind,
        "[ipv4:|ipv6:][tcp:|udp:][port or range] or any",
        "ipv4:tcp:1024-65535",
        _join_socket_bind,
        tuple,
        types=(int,),
    ),
    Kind.INTERFACES: Spelling(
        _interfaces,
        _spell_interfaces,
        "names of interfaces to allow, or with a leading ~ to deny",
        "eth0 eth1",
        _join_interfaces,
    ),
    Kind.DEVICE_POLICY: Spelling(_word("auto", "closed", "strict"), str, "auto, closed or strict", "closed"),
    Kind.DEVICE_ALLOW: Spelling(
        _one(lambda text, _: devices.device_allow(text)),
        lambda pair: f"{pair[0]} {pair[1]}",
        "a path below /dev/, or char-GROUP or block-GROUP, and some of the letters rwm",
        "/dev/null rw",
        _join_devices,
        tuple,
    ),
    Kind.OOM_MODE: Spelling(_word("auto", "kill"), str, "auto or kill", "kill"),
    Kind.PERMYRIAD: Spelling(_permyriad, units.spell_permyriad, "a percentage up to 100%", "60%"),
}
"""How each kind of directive is written."""
