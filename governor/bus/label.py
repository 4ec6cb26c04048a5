"""Names as labels of D-Bus object paths, as systemd's sd_bus_path_encode(3) and bus_label_escape() write them."""

from __future__ import annotations

import re

UNIT_PATH_PREFIX = "/org/freedesktop/systemd1/unit/"
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_DIGITS = frozenset(b"0123456789")
_ESCAPE = re.compile(rb"_([0-9a-fA-F]{2})")


def escape_label(name: str) -> str:
    """Return `name` with every byte that is not a letter or digit, and a leading digit, as _xx; "" becomes "_"."""
    if not name:
        return "_"
    data = name.encode("utf-8", "surrogateescape")
    return "".join(
        chr(byte) if byte in _PLAIN and not (position == 0 and byte in _DIGITS) else f"_{byte:02x}"
        for position, byte in enumerate(data)
    )


def unescape_label(label: str) -> str:
    """Return the name that `label` stands for; an invalid escape is taken literally, as systemd does."""
    if label == "_":
        return ""
    data = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), label.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def unit_path(unit: str) -> str:
    """Return the object path of `unit` on systemd's bus."""
    return UNIT_PATH_PREFIX + escape_label(unit)


def unit_of(path: str) -> str:
    """Return the unit whose object path is `path`; "" where it is no unit's."""
    if not path.startswith(UNIT_PATH_PREFIX):
        return ""
    return unescape_label(path.removeprefix(UNIT_PATH_PREFIX))
