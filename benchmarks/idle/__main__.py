"""python3 -m benchmarks.idle: CPU time and memory of the daemon while nothing happens, beside a C reader."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks import guests, report
from benchmarks.idle import results, windows

if TYPE_CHECKING:
    from tests.vm.governed import Governed

EPILOG = "Containers are plain scopes with a sleeping process: 200 of docker's do not fit into the guest."


def main() -> int:
    """Measure, print the table and write build/bench/idle.json; return the exit code."""
    arguments = _parser().parse_args()
    counts = sorted(set(arguments.containers))
    with guests.governed(arguments.suite, "idle") as made:
        found, memories = _measure(made, counts, arguments)
    rows = results.rows(found, memories)
    parameters = {"suite": arguments.suite, "seconds": arguments.seconds, "windows": arguments.windows}
    parameters["feedback"] = arguments.feedback
    values = {"rows": results.as_json(rows), "windows": [asdict(window) for window in found]}
    path = report.save("idle-feedback" if arguments.feedback else "idle", parameters, values)
    report.show("What the daemon costs while nothing happens", path, results.shown(rows), as_json=arguments.json)
    return 0


def _measure(
    made: Governed, counts: list[int], arguments: argparse.Namespace
) -> tuple[list[windows.Window], list[windows.Memory]]:
    found, memories, before = [], [], 0
    windows.prepare(made, feedback=arguments.feedback)
    for count in counts:
        windows.grow(made, before, count)
        found += windows.measure(made, count, arguments.seconds, arguments.windows)
        memories.append(windows.memory(made, count))
        before = count
    return found, memories


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.idle", description=__doc__, epilog=EPILOG)
    parser.add_argument("--containers", type=int, nargs="+", default=[20, 200], help="how many (default: 20 200)")
    parser.add_argument("--seconds", type=int, default=20, help="length of a window (default: 20)")
    parser.add_argument("--windows", type=int, default=2, help="windows for each reader (default: 2)")
    parser.add_argument("--feedback", action="store_true", help="with a controller on every container (right-size)")
    guests.add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
