"""signals: every number that the governor can measure, with its unit and what it means. Needs no daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.cli import output
from governor.cli.exits import Exit
from governor.model.signal import CONTAINER_SIGNALS, HOST_SIGNALS

if TYPE_CHECKING:
    from argparse import Namespace

    from governor.model.signal import Signal


def signals(arguments: Namespace) -> int:
    """Print the table of signals: a container's, then the host's."""
    every = (*CONTAINER_SIGNALS, *HOST_SIGNALS)
    if arguments.json:
        output.print_json([_plain(signal) for signal in every])
    else:
        output.print_table(("SIGNAL", "UNIT", "MEANING"), [_row(signal) for signal in every])
    return Exit.OK


def _plain(signal: Signal) -> dict[str, str | bool]:
    return {"name": signal.name, "unit": signal.unit, "meaning": signal.help, "per_device": signal.per_device}


def _row(signal: Signal) -> tuple[str, str, str]:
    return (f"{signal.name}[@DEVICE]" if signal.per_device else signal.name, signal.unit, signal.help)
