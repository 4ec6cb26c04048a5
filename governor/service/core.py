"""What the D-Bus API asks of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.model.container import Container
    from governor.model.feature import Feature
    from governor.model.policy import Mode, Policy
    from governor.model.tick import Explanation, Tick
    from governor.model.values import Value


class Core(Protocol):
    """The daemon as the API sees it: what there is, why, and the few things that may be asked of it."""

    @property
    def mode(self) -> Mode:
        """The host's mode, which caps every policy's."""

    @property
    def last_tick_usec(self) -> int:
        """How long the last tick took, in µs."""

    def containers(self) -> Sequence[Container]:
        """Return every container that is known."""

    def policies(self) -> Sequence[Policy]:
        """Return the policies in force, in the order in which they apply; the same object until they change."""

    def policies_of(self, container: Container) -> Sequence[str]:
        """Return the names of the policies that match `container`."""

    def limits_of(self, container: Container) -> Mapping[str, Value]:
        """Return what we hold on `container`, by property."""

    def originals_of(self, container: Container) -> Mapping[str, Value]:
        """Return what will be restored on `container`, by property."""

    def explain(self, container: Container) -> Sequence[Explanation]:
        """Return every limit of `container` with its reason."""

    def protected(self, container: Container) -> str | None:
        """Return why `container` is never written, in words, or None."""

    def features(self) -> Sequence[str]:
        """Return the names of the host's features that are in use."""

    def subscribe(self, on_tick: Callable[[Tick], None]) -> None:
        """Call `on_tick` with everything that happens from now on."""

    async def reload(self) -> None:
        """Read the policies anew; raises PolicyError, and then nothing has changed."""

    async def set_limits(self, container: Container, limits: Mapping[str, Value], lease_usec: int, uid: int) -> None:
        """Put `limits` on `container` for `lease_usec` (0 = until released), as asked by `uid`.

        Raises PolicyError, Gone, Unsupported, ActuationError.
        """

    async def release(self, container: Container) -> None:
        """Take back what was set by hand; raises Gone, Unsupported, ActuationError."""

    async def set_mode(self, mode: Mode) -> None:
        """Cap every policy by `mode`."""


class Examiner(Protocol):
    """Who knows what this host offers."""

    async def examine(self) -> Sequence[Feature]:
        """Return every feature, found or not, with what it means."""
