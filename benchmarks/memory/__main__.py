"""python3 -m benchmarks.memory: how much cold memory is given back in five minutes, and what that costs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks import guests, report
from benchmarks.memory import results, twins

if TYPE_CHECKING:
    from tests.vm.governed import Governed


def main() -> int:
    """Measure, print the table and write build/bench/memory.json; return the exit code."""
    arguments = _parser().parse_args()
    rows: list[results.Row] = []
    looks: list[dict[str, Any]] = []
    with guests.governed(arguments.suite, "memory") as made:
        for swap in arguments.swap:
            for found, seen in _measure(made, swap, arguments):
                rows.append(found)
                looks += [{"swap": swap, **asdict(look)} for look in seen]
        if arguments.journal:
            said = made.guest.sh("journalctl --no-pager SYSLOG_IDENTIFIER=governor", timeout=300).stdout
            print(said, file=sys.stderr)
    parameters = {"suite": arguments.suite, "seconds": arguments.seconds, "before": arguments.before}
    path = report.save("memory", parameters, {"rows": results.as_json(rows), "looks": looks})
    report.show("Cold memory", path, results.shown(rows), as_json=arguments.json)
    return 0


def _measure(made: Governed, swap: str, arguments: argparse.Namespace) -> list[tuple[results.Row, list[twins.Look]]]:
    """Return a row for each kind of memory with its looks; files are measured once, as they need no swap."""
    kinds = (twins.ANON, twins.FILE) if swap == arguments.swap[0] else (twins.ANON,)
    staged = twins.start(made, swap, kinds)
    before = staged.watch(arguments.before, max(1, arguments.before // 4))
    twins.govern(staged)
    after = staged.watch(arguments.seconds, arguments.every)
    staged.end()
    looks = [*before, *after]
    return [(results.row(kind, swap, before, after), [look for look in looks if look.kind == kind]) for kind in kinds]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.memory", description=__doc__)
    devices = list(twins.SWAP)
    parser.add_argument("--swap", nargs="+", choices=devices, default=devices, help="swap on what (default: both)")
    parser.add_argument("--seconds", type=int, default=300, help="how long memory is taken (default: 300)")
    parser.add_argument("--before", type=int, default=40, help="seconds of comparison before (default: 40)")
    parser.add_argument("--every", type=int, default=20, help="seconds from one look to the next (default: 20)")
    parser.add_argument("--journal", action="store_true", help="also print the daemon's journal, on standard error")
    guests.add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
