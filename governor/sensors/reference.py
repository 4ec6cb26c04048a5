"""docs/signals.md, made from the table of signals: `python -m governor.sensors.reference docs/signals.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from governor.model.signal import CONTAINER_SIGNALS, HOST_SIGNALS
from governor.sensors import CONTAINER_SENSORS, HOST_SENSORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.model.signal import Signal
    from governor.sensors.source import Sensor

_HEAD: Final = """# Signals

What the governor measures of each container, and of the host. `governorctl signals` prints the same. This page is made
from the table in `governor/model/signal.py`: `python -m governor.sensors.reference docs/signals.md`.

- A value that could not be read is absent, never zero: the controller is off, the kernel is too old, a counter went
  backwards, or a ratio has nothing to refer to.
- Rates and shares are over the time since the last sample, so that a first sample has none.
- A container is read at its scope: what is in cgroups below it is counted with it.
- Where *by device* is said there is, beside the sum, one value a block device: `io.read_bytes@254:0`.
- Only what a policy or an exporter asks for is read.
"""
"""All that is not a table."""


def page() -> str:
    """Return the whole page."""
    containers, host = _table(CONTAINER_SIGNALS, CONTAINER_SENSORS), _table(HOST_SIGNALS, HOST_SENSORS)
    return f"{_HEAD}\n## Of a container\n\n{containers}\n## Of the host, below /proc\n\n{host}"


def _table(signals: Iterable[Signal], sensors: Iterable[Sensor]) -> str:
    rows = [f"| `{s.name}` | {s.unit} | {_meaning(s)} | {_files(s, sensors)} |" for s in signals]
    return "\n".join(["| Signal | Unit | What it is | Read from |", "|---|---|---|---|", *rows]) + "\n"


def _meaning(signal: Signal) -> str:
    return signal.help + ("; by device" if signal.per_device else "")


def _files(signal: Signal, sensors: Iterable[Sensor]) -> str:
    """Return the files that the signal is read from; a dash where no kernel has it."""
    wanted = frozenset({signal.name})
    files = [source.file for sensor in sensors for source in sensor.sources(wanted)]
    return ", ".join(f"`{file}`" for file in files) or "-"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(page(), encoding="utf-8")
