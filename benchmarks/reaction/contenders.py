"""Who sets the limit: the daemon or a bare listener. All run all the time; all but one are stopped (SIGSTOP).

So each is warm when its turn comes, as a service is that has run for days, and no turn pays for a start.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import guests
from tests.vm.guest import GuestError

if TYPE_CHECKING:
    from benchmarks.reaction.trace import Limit
    from tests.vm.governed import Governed

SCRIPT: Final = Path(__file__).parent / "bare.py"
IN_GUEST: Final = "/root/bare.py"
PATTERN: Final = r"(docker|libpod)-[0-9a-f]{64}\.scope"
READY: Final = "ready\n"
READY_SEC: Final = 60.0
CATCH_UP_SEC: Final = 1.5
"""More than a tick of the daemon: time to hear what happened while it was stopped."""

BY_UNIT: Final = 'unit = ["docker-*.scope", "libpod-[0-9a-f][0-9a-f]*.scope"]'  # not libpod-conmon-…
BY_LABEL: Final = 'labels = { bench = "yes" }'

MATCHES: Final = {"governor by unit": BY_UNIT, "governor by label": BY_LABEL}
BARE: Final = {"bare": "", "bare, at once": "--at-once"}
NAMES: Final = ("governor by unit", "bare", "governor by label", "bare, at once")
"""In the order of the turns: what is compared follows each other."""


class Contenders:
    """The processes in the guest; at most one of them is not stopped."""

    def __init__(self, made: Governed, limit: Limit) -> None:
        self._made = made
        self._limit = limit
        made.guest.push(SCRIPT, IN_GUEST)
        guests.without_watchdog(made)
        self._pids = {name: self._listen(option) for name, option in BARE.items()}
        self._pids["governor"] = guests.main_pid(made)

    def take_turns(self, name: str) -> None:
        """Let `name` go on and stop the others; return once it has caught up."""
        chosen = name if name in BARE else "governor"
        stopped = " ".join(str(pid) for other, pid in self._pids.items() if other != chosen)
        self._made.guest.sh(f"kill -STOP {stopped}; kill -CONT {self._pids[chosen]}; sleep {CATCH_UP_SEC}")
        if name in MATCHES:
            guests.use_policy(self._made, f"[match]\n{MATCHES[name]}\n[limits]\n{self._limit.directive}\n")

    def _listen(self, option: str) -> int:
        words = f"'{PATTERN}' {self._limit.property} {self._limit.value} {option}"
        listener = self._made.guest.spawn(f"exec python3 {IN_GUEST} {words}")
        deadline = time.monotonic() + READY_SEC
        while READY not in listener.output():
            if time.monotonic() > deadline or not listener.running():
                raise GuestError(f"the bare listener does not come up: {listener.output()}")
            time.sleep(0.2)
        return listener.pid
