"""Controllers: pure, one a file. This table is what a policy's [control.NAME] may name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.controllers.cpu_burst import CpuBurst
from governor.controllers.cpu_throttle import CpuThrottle
from governor.controllers.headroom import Headroom
from governor.controllers.interference import Interference
from governor.controllers.io_pressure import IoPressure
from governor.controllers.memory_probe import MemoryProbe
from governor.controllers.pressure_kill import PressureKill
from governor.controllers.right_size import RightSize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Controller

_ALL: Final[tuple[type[Controller], ...]] = (
    CpuBurst,
    CpuThrottle,
    Headroom,
    Interference,
    IoPressure,
    MemoryProbe,
    PressureKill,
    RightSize,
)

BY_NAME: Final[Mapping[str, type[Controller]]] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Every controller by its name in TOML."""
