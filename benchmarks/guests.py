"""The guest of a benchmark: started, with the package installed, and gone at the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks.report import say
from tests.vm.governed import Governed, package
from tests.vm.guest import Guest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

DROP_IN: Final = "/run/systemd/system/governor.service.d/bench.conf"
CURSOR: Final = "/run/bench.cursor"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark takes."""
    parser.add_argument("--suite", default="trixie", help="the guest's Debian release (default: trixie)")
    parser.add_argument("--json", action="store_true", help="print the file of results instead of the table")


@contextmanager
def governed(suite: str, name: str) -> Iterator[Governed]:
    """Start a guest, install the package of dist/ in it and yield it; it is stopped in the end."""
    say(f"starting a {suite} guest (its image and snapshot are made once, in minutes)")
    with Guest.start(suite, f"bench-{name}") as guest:
        made = Governed(guest)
        say(f"installing {package().name}")
        made.install()
        yield made


def without_watchdog(made: Governed) -> None:
    """Restart the daemon without a watchdog, so that it may be stopped (SIGSTOP) while something else is measured."""
    made.guest.write(DROP_IN, "[Service]\nWatchdogSec=infinity\n")
    made.guest.sh("systemctl daemon-reload && systemctl restart governor", timeout=180)
    made.wait_ready()


def main_pid(made: Governed) -> int:
    """Return the daemon's process id in the guest."""
    return int(made.guest.run("systemctl", "show", "--value", "-p", "MainPID", "governor").stdout)


def use_policy(made: Governed, text: str) -> None:
    """Replace the one policy of the benchmark and return once the daemon says that it is in force."""
    news = f"journalctl --no-pager -u governor --cursor-file={CURSOR}"
    made.guest.sh(f"{news} >/dev/null", check=False)
    made.policy("50-bench", text)
    made.guest.wait_until(f"{news} | grep -q 'policies in force'", timeout=60)
