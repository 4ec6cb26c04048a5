"""A core with known contents that notes what it is asked to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.model.container import Container
from governor.model.errors import Position
from governor.model.feature import Feature
from governor.model.policy import Match, Mode, Policy
from governor.model.tick import Change, Explanation, Outcome, Tick
from governor.model.values import INFINITY, Share, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WEB_ID = "a" * 64
DB_ID = "b" * 64
WEB = Container(
    runtime="docker",
    namespace="",
    id=WEB_ID,
    name="web-1",
    image="nginx:1",
    labels={"tier": "frontend", "secret": "s3cr3t"},
    unit=f"docker-{WEB_ID}.scope",
    cgroup=f"/system.slice/docker-{WEB_ID}.scope",
    inode=1,
)
DB = replace(WEB, id=DB_ID, name="db", unit=f"docker-{DB_ID}.scope", labels={}, inode=2)
POLICY = Policy(name="50-web", file="/etc/governor/policies.d/50-web.toml", mode=Mode.ENFORCE, match=Match(), limits={})
POSITION = Position("/etc/governor/policies.d/50-web.toml", 3, 1)


class FakeCore:
    def __init__(self) -> None:
        self.mode = Mode.ENFORCE
        self.last_tick_usec = 1234
        self.all = [WEB, DB]
        self.loaded: tuple[Policy, ...] = (POLICY,)
        self.held: dict[int, dict[str, Value]] = {1: {"CPUWeight": 300, "AllowedCPUs": (0, 1)}}
        self.refusals: dict[str, str] = {}
        self.done: list[tuple[Any, ...]] = []
        self.fails_with: Exception | None = None
        self._on_tick: list[Callable[[Tick], None]] = []

    def containers(self) -> Sequence[Container]:
        return list(self.all)

    def policies(self) -> Sequence[Policy]:
        return self.loaded

    def policies_of(self, container: Container) -> Sequence[str]:
        return ["50-web"] if container.name.startswith("web") else []

    def limits_of(self, container: Container) -> Mapping[str, Value]:
        return self.held.get(container.inode, {})

    def originals_of(self, container: Container) -> Mapping[str, Value]:
        return dict.fromkeys(self.limits_of(container).keys() - {"AllowedCPUs"}, INFINITY)

    def explain(self, container: Container) -> Sequence[Explanation]:
        return [
            Explanation(
                property="CPUWeight",
                value=300,
                original=100,
                source="policy:50-web",
                reason=f"policy 50-web on {container.name}",
                since_usec=5,
                until_usec=0,
                state="held",
                overrides=("policy:10-all",),
            ),
            Explanation(
                property="MemoryHigh",
                value=Share(5000),
                original=None,
                source="policy:50-web",
                reason="not yet",
                since_usec=0,
                until_usec=0,
                state="pending",
            ),
        ]

    def protected(self, container: Container) -> str | None:
        return self.refusals.get(container.name)

    def features(self) -> Sequence[str]:
        return ["psi"]

    def subscribe(self, on_tick: Callable[[Tick], None]) -> None:
        self._on_tick.append(on_tick)

    async def examine(self) -> Sequence[Feature]:
        return [Feature("psi", available=True, meaning="pressure"), Feature("bfq", available=False, meaning="IOWeight")]

    async def reload(self) -> None:
        self._do("reload")

    async def set_limits(self, container: Container, limits: Mapping[str, Value], lease_usec: int, uid: int) -> None:
        self._do("set_limits", container.id, dict(limits), lease_usec, uid)

    async def release(self, container: Container) -> None:
        self._do("release", container.id)

    async def set_mode(self, mode: Mode) -> None:
        self._do("set_mode", mode)
        self.mode = mode

    def tick(self, **fields: Any) -> None:
        tick = Tick(started_usec=0, duration_usec=0, containers=tuple(self.all), **fields)
        for on_tick in self._on_tick:
            on_tick(tick)

    def _do(self, *what: Any) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.done.append(what)


def applied(container: Container, name: str, new: Value) -> Change:
    return Change(
        container=container,
        property=name,
        old=None,
        new=new,
        source="policy:50-web",
        reason="because",
        outcome=Outcome.APPLIED,
    )
