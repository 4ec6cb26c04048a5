"""Where things are. Every path hangs from one root, so that a test has a host of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one host; `root` is / but in tests."""

    root: Path = Path("/")

    @property
    def run(self) -> Path:
        """What lasts until the next boot."""
        return self.root / "run/governor"

    @property
    def state(self) -> Path:
        """What lasts."""
        return self.root / "var/lib/governor"

    @property
    def ledger(self) -> Path:
        """The ledger of leases."""
        return self.run / "ledger"

    @property
    def lock(self) -> Path:
        """Held by whoever works on the ledger."""
        return self.run / "lock"

    @property
    def mode(self) -> Path:
        """The mode that was set at run time."""
        return self.run / "mode"

    @property
    def last_good(self) -> Path:
        """The last set of policies that was in force."""
        return self.state / "last-good.json"

    @property
    def learned(self) -> Path:
        """What controllers have learned of workloads."""
        return self.state / "learned.json"
