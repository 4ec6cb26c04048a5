"""Steps controllers: keeps their states between steps, and keeps a controller that fails from everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.model.control import Controller, Decision, Joint, Member, Scene, Solo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.engine.world import Subject, World


@dataclass(slots=True)
class _State:
    settings: Controller
    value: Any
    stepped_usec: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A controller raised; `inode` is 0 where it weighs all containers together."""

    controller: str
    inode: int
    error: str


class Runner:
    """Runs one step of every controller that is due. `member` makes what a controller sees of a container."""

    def __init__(self, member: Callable[[str, Subject], Member]) -> None:
        self._member = member
        self._solo: dict[tuple[str, int], _State] = {}
        self._joint: dict[str, _State] = {}

    def solo(self, kind: type[Solo], world: World) -> Iterator[Decision | Failure]:
        """Yield what the controller decides for each container that has it."""
        for subject in world.subjects.values():
            control = subject.controls.get(kind.name)
            if control is not None and isinstance(control.settings, Solo):
                found = self._step(control.settings, subject, world.now_usec)
                if found is not None:
                    yield found

    def joint(self, kind: type[Joint], world: World) -> Iterator[Decision | Failure]:
        """Yield what the controller decides for all containers together."""
        asked = [s.controls[kind.name].settings for s in world.subjects.values() if kind.name in s.controls]
        if not asked:
            self._joint.pop(kind.name, None)
            return
        state = self._joint.get(kind.name)
        if state is None:
            state = _State(asked[0], kind.start_all(), 0)
        elif not _is_due(state, world.now_usec):
            return
        members, others = {}, {}
        for inode, subject in world.subjects.items():
            control, member = subject.controls.get(kind.name), self._member(kind.name, subject)
            if control is None:
                others[inode] = member
            else:
                members[inode] = (member, control.settings)
        dt_sec = (world.now_usec - state.stepped_usec) / 1e6 if state.stepped_usec else 0.0
        scene = Scene(now_usec=world.now_usec, dt_sec=dt_sec, host=world.host, members=members, others=others)
        try:
            value, decisions = kind.step_all(state.value, scene)
            found = [decision for decision in decisions if decision.inode in members]
        except Exception as error:  # noqa: BLE001 - whatever one controller does, the others go on
            self._joint.pop(kind.name, None)
            yield Failure(kind.name, 0, repr(error))
            return
        self._joint[kind.name] = _State(state.settings, value, world.now_usec)
        yield from found

    def reset(self, controller: str, inode: int) -> None:
        """Begin anew for one container: its action was taken back."""
        self._solo.pop((controller, inode), None)

    def forget(self, inode: int) -> None:
        """Drop the states of a container that ended."""
        for key in [key for key in self._solo if key[1] == inode]:
            del self._solo[key]

    def clear(self) -> None:
        """Begin anew everywhere."""
        self._solo.clear()
        self._joint.clear()

    def state(self, controller: str, inode: int) -> Any:
        """Return a solo controller's state for one container, None before its first step."""
        found = self._solo.get((controller, inode))
        return None if found is None else found.value

    def restore(self, settings: Solo, inode: int, value: Any, now_usec: int) -> None:
        """Go on from `value`, which an earlier daemon left."""
        self._solo[settings.name, inode] = _State(settings, value, now_usec)

    def _step(self, settings: Solo, subject: Subject, now_usec: int) -> Decision | Failure | None:
        key = (settings.name, subject.inode)
        state = self._solo.get(key)
        if state is None or state.settings != settings:
            state = _State(settings, settings.start(), 0)
        elif not _is_due(state, now_usec):
            return None
        dt_sec = (now_usec - state.stepped_usec) / 1e6 if state.stepped_usec else 0.0
        try:
            value, decision = settings.step(state.value, self._member(settings.name, subject), dt_sec)
            found = decision if decision is None or decision.inode == subject.inode else None
        except Exception as error:  # noqa: BLE001 - whatever one controller does, the others go on
            self._solo.pop(key, None)
            return Failure(settings.name, subject.inode, repr(error))
        self._solo[key] = _State(settings, value, now_usec)
        return found


def _is_due(state: _State, now_usec: int) -> bool:
    """Return whether a controller's interval has passed, with a tenth of it for a clock that is early."""
    return now_usec - state.stepped_usec >= state.settings.interval_usec * 9 // 10
