"""The values of systemd's resource-control properties, as plain immutable Python.

| D-Bus signature | here |
|---|---|
| t               | int; `INFINITY` where systemd says infinity |
| u               | int, ten-thousandths (systemd: parts of 2^32 - 1) |
| b, s            | bool, str |
| ay (CPU and node masks) | sorted tuple of int |
| a(st), a(ss)    | tuple of (str, int) or (str, str) |
| a(iayu)         | tuple of str, each a network in CIDR notation as ipaddress prints it |
| a(iiqq)         | tuple of (family, protocol, ports, first port) |
| (bas)           | (is_allow_list, (name, ...)) |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

INFINITY = 2**64 - 1
"""systemd's CGROUP_LIMIT_MAX and USEC_INFINITY: no limit."""

CPU_WEIGHT_IDLE = 0
"""systemd's CGROUP_WEIGHT_IDLE: CPUWeight=idle on the bus."""

USEC_PER_SEC = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """A part of what the host has, in ten-thousandths: `MemoryHigh = "50%"` is Share(5000) of the installed memory."""

    parts_per_10000: int

    def of(self, total: int) -> int:
        """Return this share of `total`, rounded down, in the unit of `total`."""
        return total * self.parts_per_10000 // 10000


Scalar: TypeAlias = int | str | bool
Value: TypeAlias = Scalar | Share | tuple["Scalar | tuple[Scalar, ...]", ...]
