"""python3 -m benchmarks.contention: a service's latencies beside CPU, memory and IO antagonists, and their work."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import guests, report
from benchmarks.contention import plot, results, stage, turns


def main() -> int:
    """Measure, print the table, write build/bench/contention.json and the plot; return the exit code."""
    arguments = _parser().parse_args()
    found: list[turns.Turn] = []
    with guests.governed(arguments.suite, "contention") as made:
        staged = stage.set_up(made)
        for antagonist in arguments.antagonist:
            staged.shrink(antagonist)
            for pattern in arguments.pattern:
                found += turns.measure(staged, antagonist, pattern, arguments.runs, arguments.seconds)
        if arguments.journal:
            print(
                made.guest.sh("journalctl --no-pager SYSLOG_IDENTIFIER=governor", timeout=300).stdout, file=sys.stderr
            )
    rows = results.rows(found)
    parameters = {"suite": arguments.suite, "runs": arguments.runs, "seconds": arguments.seconds}
    values = {"rows": results.as_json(rows), "turns": [asdict(turn) for turn in found]}
    path = report.save("contention", parameters, values)
    if arguments.plot is not None:
        plot.draw(rows, arguments.plot)
    report.show("A service beside antagonists", path, results.shown(rows), as_json=arguments.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.contention", description=__doc__)
    kinds = list(stage.KINDS)
    parser.add_argument("--antagonist", nargs="+", choices=kinds, default=kinds, help="which (default: all)")
    parser.add_argument("--pattern", nargs="+", choices=turns.PATTERNS, default=[turns.STEADY], help="what changes")
    parser.add_argument("--runs", type=int, default=3, help="turns of each way (default: 3)")
    parser.add_argument("--seconds", type=int, default=15, help="length of a window (default: 15)")
    parser.add_argument("--plot", type=Path, help="also draw the table (.svg, .png, .pdf)")
    parser.add_argument("--journal", action="store_true", help="also print the daemon's journal, on standard error")
    guests.add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
