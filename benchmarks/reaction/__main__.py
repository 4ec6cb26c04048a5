"""python3 -m benchmarks.reaction: from a payload's exec to its limit in the kernel's file, beside a bare listener."""

from __future__ import annotations

import argparse
import sys

from benchmarks import guests, report
from benchmarks.reaction import results
from benchmarks.reaction.runs import as_rows, rounds
from benchmarks.reaction.trace import LIMITS

EPILOG = "Three runs take three to six minutes. With fewer than a hundred runs the p99 is the worst that was seen."


def main() -> int:
    """Measure, print the table and write build/bench/reaction.json; return the exit code."""
    arguments = _parser().parse_args()
    limit = LIMITS[arguments.file]
    with guests.governed(arguments.suite, "reaction") as made:
        runs = list(rounds(made, limit, arguments.runs))
    found = results.cells(runs)
    parameters = {"suite": arguments.suite, "runs": arguments.runs, "file": limit.file}
    path = report.save("reaction", parameters, {"cells": results.as_rows(found), "runs": as_rows(runs)})
    title = f"From exec to the limit in {limit.file}"
    report.show(title, path, results.shown(found), as_json=arguments.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.reaction", description=__doc__, epilog=EPILOG)
    parser.add_argument("--runs", type=int, default=3, help="containers a contender and runtime (default: 3)")
    parser.add_argument("--file", choices=LIMITS, default="pids.max", help="whose limit (default: pids.max)")
    guests.add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
