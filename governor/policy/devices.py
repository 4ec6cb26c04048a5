"""Devices and CPU sets in systemd's own spelling, to the values of model/values.py and back.

The grammars are those of AllowedCPUs=, IODeviceWeight=, IOReadBandwidthMax= and DeviceAllow= in
systemd.resource-control(5). Each parser raises ValueError with the reason where systemd would refuse the text.
"""

from __future__ import annotations

import re
from typing import Final

MAX_CPUS: Final = 8192
"""CPU and node numbers lie below it, as in systemd's parse_cpu_set()."""

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
# A path with blanks is quoted, as in a unit file.
_PAIR = re.compile(r"""(?:"([^"]*)"|'([^']*)'|(\S+))\s+(\S.*)""", re.DOTALL)
_MAX_PATH: Final = 4095
_ACCESS: Final = "rwm"


def cpu_set(text: str) -> tuple[int, ...]:
    """Return the sorted numbers of a list such as `0-3,8` or `0 2 4`."""
    mask = 0  # a mask, not a set: the same wide range a hundred thousand times over must not take a minute
    for word in re.split(r"[\s,]+", text.strip(" \t\n\r,")):
        mask |= _cpu_mask(word) if word else 0
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)


def spell_cpu_set(numbers: tuple[int, ...]) -> str:
    """Return sorted numbers as ranges: (0, 1, 2, 3, 8) is `0-3,8`."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def device_and_rest(text: str) -> tuple[str, str]:
    """Return the two words of `/var 20M`: the path, checked, and what belongs to it."""
    pair = _PAIR.fullmatch(text.strip())
    if pair is None:
        raise ValueError("is not a device and a value")
    return absolute(pair[1] or pair[2] or pair[3] or ""), pair[4]


def spell_device(path: str, rest: str) -> str:
    """Return a path and what belongs to it, the path quoted where it needs it."""
    quote = "'" if '"' in path else '"'
    return f"{quote}{path}{quote} {rest}" if re.search(r"\s", path) else f"{path} {rest}"


def absolute(path: str) -> str:
    """Return `path` where it is absolute and normalised (systemd's path_is_normalized()), else raise ValueError."""
    if not path.startswith("/"):
        raise ValueError("has no absolute path")
    if not path.isprintable() or len(path.encode()) > _MAX_PATH:
        raise ValueError("has a path that no file can have")
    if path != "/" and any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise ValueError("has a path with '//', '/./', '/../' or a slash at its end")
    return path


def device_allow(text: str) -> tuple[str, str]:
    """Return a device or group and its access (`r`, `w`, `m`; all where none is given) of `/dev/null rw`."""
    node, _, access = text.strip().partition(" ")
    access = access.strip() or _ACCESS
    if node.startswith("/"):
        absolute(node)
    if not node.isprintable() or not re.fullmatch(r"/dev/.+|(?:char|block)-.+", node):
        raise ValueError("is neither below /dev/ nor a char- or block- group")
    if set(access) - set(_ACCESS):
        raise ValueError("has an access other than r, w and m")
    return node, "".join(letter for letter in _ACCESS if letter in access)


def _cpu_mask(word: str) -> int:
    found = _RANGE.fullmatch(word)
    if found is None:
        raise ValueError("is not a list of numbers and ranges")
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < MAX_CPUS:
        raise ValueError(f"has a range that does not run upwards below {MAX_CPUS}")
    return (1 << last + 1) - (1 << first)
