"""A simulated disk that a protected service and antagonists share; it reacts to bandwidth caps and weights.

The service sends requests at a rate; each takes `base_sec` and waits for what the antagonists have in the disk's
queue: M/M/1's rho / (1 - rho) blocks of theirs, at most `depth`. Its pressure is the share of time in which at least
one request is under way (Poisson arrivals: 1 - exp(-rate * latency)); its p99 goes with its mean latency.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.model.control import Controller, Member, Scene
from governor.model.signal import Sample
from governor.model.values import USEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Decision
    from governor.model.values import Value

MB = 1_000_000
DISK = "254:16"
SERVICE = 1
READ, WRITE, WEIGHT = "IOReadBandwidthMax", "IOWriteBandwidthMax", "IOWeight"


@dataclass(slots=True, kw_only=True)
class Batch:
    """One antagonist: what it would like to move, and its limits."""

    inode: int
    wants: float = 1000.0 * MB
    writes: float = 1.0
    """The share of its traffic that is written."""
    limits: dict[str, Value] = field(default_factory=lambda: {READ: (), WRITE: ()})
    base: dict[str, Value] = field(default_factory=dict)
    silenced: bool = False
    moved: float = 0.0
    total: float = 0.0

    def cap(self, name: str) -> float:
        limit = self.limits.get(name, ())
        assert isinstance(limit, tuple)
        rates = [entry[1] for entry in limit if isinstance(entry, tuple) and entry[0] == DISK]
        return min((float(rate) for rate in rates), default=math.inf)

    def offers(self) -> float:
        """Return the bytes a second that it would move on an idle disk: a cap on one direction holds up both."""
        written = self.cap(WRITE) / self.writes if self.writes else math.inf
        read = self.cap(READ) / (1 - self.writes) if self.writes < 1 else math.inf
        return min(self.wants, written, read)


@dataclass(slots=True, kw_only=True)
class IoPlant:
    """The disk, the service and its antagonists."""

    batches: list[Batch]
    bandwidth: float = 200.0 * MB
    rate: float = 200.0
    base_sec: float = 0.0015
    block: float = 128_000.0
    depth: float = 32.0
    noise: float = 0.03
    workers: float = math.inf
    """How many requests the service has under way at most: then it slows down instead."""
    now_usec: int = USEC_PER_SEC
    latency_sec: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self, dt_sec: float) -> None:
        """Let everybody do IO."""
        offers = [batch.offers() for batch in self.batches]
        fits = min(1.0, 0.97 * self.bandwidth / max(sum(offers), 1.0))
        queue = 0.0
        for batch, offer in zip(self.batches, offers, strict=True):
            batch.moved = offer * fits
            batch.total += batch.moved * dt_sec
            weight = batch.limits.get(WEIGHT, 100)
            assert isinstance(weight, int)
            queue += batch.moved / self.bandwidth * weight / 100
        waits = min(queue / max(1 - queue, 1e-3), self.depth)
        self.latency_sec = self.base_sec + waits * self.block / self.bandwidth
        self.now_usec += round(dt_sec * USEC_PER_SEC)

    @property
    def stretch(self) -> float:
        """Return the service's latency as a multiple of what it has alone."""
        return self.latency_sec / self.base_sec

    @property
    def served(self) -> float:
        return min(self.rate, self.workers / self.latency_sec)

    @property
    def pressure(self) -> float:
        return 1 - math.exp(-self.served * self.latency_sec)

    def service(self) -> Member:
        """Return the protected service as a controller sees it."""
        shake = 1 + self.noise * self.rng.uniform(-1, 1)
        values = {
            "pressure.io.some": min(1.0, self.pressure * shake),
            "io.reads": self.served,
            "io.writes": 0.0,
            f"io.read_bytes@{DISK}": self.served * 4096,
            f"io.write_bytes@{DISK}": 0.0,
        }
        return Member(inode=SERVICE, name="db-1", sample=Sample(time_usec=self.now_usec, values=values))

    def member(self, batch: Batch) -> Member:
        """Return an antagonist as a controller sees it."""
        values = {
            "io.read_bytes": batch.moved * (1 - batch.writes),
            "io.write_bytes": batch.moved * batch.writes,
            f"io.read_bytes@{DISK}": batch.moved * (1 - batch.writes),
            f"io.write_bytes@{DISK}": batch.moved * batch.writes,
        }
        return Member(
            inode=batch.inode,
            name=f"batch-{batch.inode}",
            sample=Sample(time_usec=self.now_usec, values=values),
            base=dict(batch.base),
            current=dict(batch.limits),
            silenced=batch.silenced,
        )

    def scene(self, protect: Controller, give: Controller, dt_sec: float = 1.0) -> Scene:
        """Return the whole host: the service has the settings `protect`, the antagonists `give`."""
        members: dict[int, tuple[Member, Controller]] = {SERVICE: (self.service(), protect)}
        members |= {batch.inode: (self.member(batch), give) for batch in self.batches}
        return Scene(
            now_usec=self.now_usec, dt_sec=dt_sec, host=Sample(time_usec=self.now_usec, values={}), members=members
        )

    def apply(self, decision: Decision) -> None:
        """Write what was decided, as the actuators do."""
        batch = next(each for each in self.batches if each.inode == decision.inode)
        for name, value in decision.limits.items():
            unset: Mapping[str, Value] = {READ: (), WRITE: (), WEIGHT: 100}
            batch.limits[name] = batch.base.get(name, unset[name]) if value is None else value
