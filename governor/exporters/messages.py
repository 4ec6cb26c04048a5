"""Every kind of message that the daemon writes, with its stable MESSAGE_ID.

The ids never change and are never used again: scripts filter on them, and units/governor.catalog explains each of
them to `journalctl -x` (a test holds both in step). Priorities are syslog's, sd-daemon(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.model.tick import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


class Priority(IntEnum):
    """syslog's priorities, as far as they are used."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message: its MESSAGE_ID (32 hex digits) and the priority that it has unless told otherwise."""

    id: str
    priority: Priority


LIMIT_APPLIED: Final = Message("40c61d82a1274430bd79f0c21d475283", Priority.INFO)
LIMIT_RESTORED: Final = Message("31741962294f43aabb1b307e730c007e", Priority.INFO)
LIMIT_OBSERVED: Final = Message("6701929b517b4ae38e39ef7efaecf5b5", Priority.INFO)
LIMIT_YIELDED: Final = Message("21fedca55f254965a662c84d4cdc7ea6", Priority.NOTICE)
LIMIT_CONVERGING: Final = Message("d46840d54ad24e1e87b9a0565ffa4497", Priority.INFO)
LIMIT_REFUSED: Final = Message("8e34945289974063a7af2512e6ab0d02", Priority.WARNING)
LIMIT_FAILED: Final = Message("09100cd5c9684205be1d4f1a0c2db1ac", Priority.ERROR)
POLICIES_LOADED: Final = Message("118da4bb45834b14ba71060ad87ee2f5", Priority.INFO)
POLICY_REFUSED: Final = Message("70959f2b1f85423eb78dd0fea877359b", Priority.ERROR)
POLICY_CONFLICT: Final = Message("c4c5a5aed7534c348c05eca8b138e4ef", Priority.ERROR)
MODE_CHANGED: Final = Message("9656e9c220114454b072699a3a3b0499", Priority.NOTICE)
FEATURE_OFF: Final = Message("76077ec8bfda46ad806096066b64f198", Priority.WARNING)
STARTED: Final = Message("bda40ffc449149dd8b953546eae49102", Priority.INFO)
STOPPED: Final = Message("153ea2eeee594959991fa0e1f2c85c0b", Priority.INFO)
RESTORE_INCOMPLETE: Final = Message("ab003d885af640e98a7c09ece61af443", Priority.ERROR)
LEASES_ADOPTED: Final = Message("186f2a53e4094334af4a85f13401851a", Priority.NOTICE)
OTHER_OWNER: Final = Message("22112ef30c234f45b1888b3085e5d79c", Priority.WARNING)
CLIENT_CHANGED: Final = Message("7cc6cfa1bb604d82912e06d0713ec1ff", Priority.NOTICE)
BUS_LOST: Final = Message("e458774d3e1e4fe3ad0b7a17eadc4f26", Priority.ERROR)
PART_FAILED: Final = Message("b822eb9ebb774de882a8224e292c3e9e", Priority.ERROR)
MESSAGES_LOST: Final = Message("995622f0521a4c3d8c06cf01833e261f", Priority.WARNING)

MESSAGES: Mapping[str, Message] = MappingProxyType(
    {name: value for name, value in sorted(globals().items()) if isinstance(value, Message)}
)
"""Every message by the name of its constant."""

OF_OUTCOME: Mapping[Outcome, Message] = MappingProxyType(
    {
        Outcome.APPLIED: LIMIT_APPLIED,
        Outcome.RESTORED: LIMIT_RESTORED,
        Outcome.OBSERVED: LIMIT_OBSERVED,
        Outcome.YIELDED: LIMIT_YIELDED,
        Outcome.CONVERGING: LIMIT_CONVERGING,
        Outcome.REFUSED: LIMIT_REFUSED,
        Outcome.FAILED: LIMIT_FAILED,
    }
)
"""How each outcome of a change is reported."""
