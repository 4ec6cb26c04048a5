"""Lets controllers go on from what they had learned of a workload before it or the daemon was started anew."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from governor.model.control import Solo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.engine.engine import Engine
    from governor.model.container import Container
    from governor.service.learned import Learned
    from governor.service.wants import Wants

SAVE_EVERY_USEC: Final = 60_000_000


class Memory:
    """Between the engine's states and the file of what was learned."""

    def __init__(self, engine: Engine, learned: Learned, wants: Wants) -> None:
        self._engine = engine
        self._learned = learned
        self._wants = wants
        self._recalled: set[tuple[int, str]] = set()
        self._saved_usec = 0

    def tick(self, containers: Iterable[Container], now_usec: int) -> bool:
        """Recall for those that are new, and return whether it is time to save()."""
        containers = tuple(containers)
        for container, name, settings in self._controls(containers):
            if (container.inode, name) not in self._recalled:
                self._recalled.add((container.inode, name))
                self._recall(container, settings, now_usec)
        self._saved_usec = self._saved_usec or now_usec
        if now_usec - self._saved_usec < SAVE_EVERY_USEC:
            return False
        self._saved_usec = now_usec
        return self.note(containers)

    def note(self, containers: Iterable[Container]) -> bool:
        """Put what the controllers know into the file's content; return whether there is anything to save."""
        noted = False
        for container, name, settings in self._controls(containers):
            state = self._engine.state(name, container.inode)
            dumped = settings.dump(state) if state is not None else None
            if dumped is not None:
                self._learned.note(container, name, dumped)
                noted = True
        return noted

    def save(self) -> None:
        """Write the file. Blocks; raises Unsupported where the disk does not take it."""
        self._learned.save()

    def forget(self, inode: int) -> None:
        """Drop what is known of a container that ended; what was noted of its workload stays."""
        self._recalled = {key for key in self._recalled if key[0] != inode}

    def _recall(self, container: Container, settings: Solo, now_usec: int) -> None:
        dumped = self._learned.of(container, settings.name)
        if dumped is not None:
            with suppress(ValueError):  # of another version, or damaged: it begins anew
                self._engine.restore_state(settings, container.inode, settings.load(dumped), now_usec)

    def _controls(self, containers: Iterable[Container]) -> Iterator[tuple[Container, str, Solo]]:
        for container in containers:
            for name, control in self._wants.policed(container).controls.items():
                if isinstance(control.settings, Solo):
                    yield container, name, control.settings
