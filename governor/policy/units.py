"""Numbers, sizes, percentages and time spans in systemd's own spelling, to integers and back.

Each parser takes the text as written and raises ValueError with the reason where systemd would refuse it. The
grammars are those of parse_size(), parse_permyriad(), parse_time() and parse_boolean() in systemd's src/basic,
described in systemd.syntax(7) and systemd.time(7).
"""

from __future__ import annotations

import re
from typing import Final

from governor.model.values import INFINITY, USEC_PER_SEC, Share

IEC: Final = 1024
"""Base of K, M, G … in Memory*=."""
SI: Final = 1000
"""Base of K, M, G … in IO*BandwidthMax= and IO*IOPSMax=."""

_SUFFIXES: Final = "EPTGMKB"
_PARTS_PER_WHOLE: Final = 10_000
_MSEC: Final = 1000
_MINUTE: Final = 60 * USEC_PER_SEC
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_YEAR: Final = 31_557_600 * USEC_PER_SEC
_MONTH: Final = 2_629_800 * USEC_PER_SEC

_UNITS_USEC: Final = {
    **dict.fromkeys(("seconds", "second", "sec", "s"), USEC_PER_SEC),
    **dict.fromkeys(("minutes", "minute", "min", "m"), _MINUTE),
    **dict.fromkeys(("months", "month", "M"), _MONTH),
    **dict.fromkeys(("msec", "ms"), _MSEC),
    **dict.fromkeys(("hours", "hour", "hr", "h"), _HOUR),
    **dict.fromkeys(("days", "day", "d"), _DAY),
    **dict.fromkeys(("weeks", "week", "w"), 7 * _DAY),
    **dict.fromkeys(("years", "year", "y"), _YEAR),
    **dict.fromkeys(("usec", "us", "\u03bcs", "\u00b5s"), 1),
}
_SPELLED_UNITS: Final = (("d", _DAY), ("h", _HOUR), ("min", _MINUTE), ("s", USEC_PER_SEC), ("ms", _MSEC), ("us", 1))

# Digits are bounded: int() refuses more than 4300 of them with an error of its own, and 64 bits need 20.
_NUMBER = re.compile(r"[0-9]{1,20}")
_SIZE_PART = re.compile(r"\s*([0-9]{1,20})(?:\.([0-9]{0,20}))?\s*([EPTGMKB]?)", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?(%|\u2030|\u2031)")
_TIME_PART = re.compile(
    r"\s*([0-9]{1,19})?(?:\.([0-9]{1,20}))?(?:\s*(" + "|".join(sorted(_UNITS_USEC, key=len, reverse=True)) + r"))?",
    re.ASCII,
)
_TRUE: Final = frozenset({"1", "yes", "y", "true", "t", "on"})
_FALSE: Final = frozenset({"0", "no", "n", "false", "f", "off"})


def number(text: str) -> int:
    """Return a plain decimal number; raise ValueError for anything else."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a plain number")
    return int(text)


def boolean(text: str) -> bool:
    """Return what systemd's parse_boolean() makes of `text`, in any case; raise ValueError for other words."""
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("is neither yes nor no")
    return word in _TRUE


def size(text: str, base: int) -> int:
    """Return `text` (`1.5G`, `1G 512M`) in units of one, the suffixes being powers of `base`.

    As in systemd, several parts add up and their suffixes must fall; raise ValueError for anything else.
    """
    total, position, largest = 0, 0, 0
    while position < len(text) or position == 0:
        part = _SIZE_PART.match(text, position)
        if part is None:
            raise ValueError("is not a size")
        whole, fraction, suffix = part.groups()
        index = _SUFFIXES.index(suffix) if suffix else len(_SUFFIXES)
        if index < largest:
            raise ValueError("has its suffixes out of order")
        total += _scaled(whole, fraction or "", base ** max(len(_SUFFIXES) - 1 - index, 0))
        position, largest = part.end(), index + 1
    return _below_infinity(total)


def spell_size(value: int, base: int) -> str:
    """Return `value` with the largest suffix that keeps it whole: 536870912 to the base of 1024 is `512M`."""
    if value == INFINITY:
        return "infinity"
    for power, suffix in ((6, "E"), (5, "P"), (4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if value and value % base**power == 0:
            return f"{value // base**power}{suffix}"
    return str(value)


def permyriad(text: str) -> int:
    """Return a percentage, per mille or per myriad (`60%`, `60.5%`, `605‰`, `6050‱`) in ten-thousandths.

    Raise ValueError for anything else. There is no upper bound: that is the caller's.
    """
    found = _PERCENT.fullmatch(text)
    if found is None:
        raise ValueError("is not a percentage")
    whole, fraction, sign = found.groups()
    places = {"%": 2, "\u2030": 1, "\u2031": 0}[sign]
    if fraction and len(fraction) > places:
        raise ValueError("has more places than systemd keeps")
    return int(whole + (fraction or "").ljust(places, "0"))


def spell_permyriad(parts_per_10000: int) -> str:
    """Return ten-thousandths as a percentage with as many places as it needs: 6050 is `60.5%`."""
    whole, rest = divmod(parts_per_10000, 100)
    return f"{whole}.{rest:02}".rstrip("0") + "%" if rest else f"{whole}%"


def share(text: str) -> Share:
    """Return a percentage of what the host has; raise ValueError where it is none or above 100%."""
    parts = permyriad(text)
    if parts > _PARTS_PER_WHOLE:
        raise ValueError("is above 100%")
    return Share(parts)


def timespan(text: str) -> int:
    """Return `text` (`20ms`, `1min 5s`, `1.5h`, `90`: seconds) in µs; raise ValueError for anything else."""
    if text.strip() == "infinity":
        return INFINITY
    total, position = 0, 0
    text = text.rstrip()
    while position < len(text) or position == 0:
        part = _TIME_PART.match(text, position)
        if part is None or part[1] is part[2] is None or _runs_on(text, part):
            raise ValueError("is not a time span")
        total += _scaled(part[1] or "0", part[2] or "", _UNITS_USEC[part[3] or "s"])
        position = part.end()
    return _below_infinity(total)


def spell_timespan(value_usec: int) -> str:
    """Return µs in the units that a person would use: 65000000 is `1min 5s`."""
    if value_usec == INFINITY:
        return "infinity"
    words, rest = [], value_usec
    for unit, unit_usec in _SPELLED_UNITS:
        count, rest = divmod(rest, unit_usec)
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words) or "0"


def _runs_on(text: str, part: re.Match[str]) -> bool:
    """Return whether a number without a unit is followed by something else than a blank, as in `12.34.56`."""
    return part[3] is None and part.end() < len(text) and not text[part.end()].isspace()


def _scaled(whole: str, fraction: str, factor: int) -> int:
    return int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)


def _below_infinity(value: int) -> int:
    if value >= INFINITY:
        raise ValueError("is more than 64 bits hold")
    return value
