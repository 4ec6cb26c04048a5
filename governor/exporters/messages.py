"""Every kind of message that the daemon writes, with its stable MESSAGE_ID.

The ids never change and are never used again: scripts filter on them, and units/governor.catalog explains each of
them to `journalctl -x` (a test holds both in step). Priorities are syslog's, sd-daemon(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.model.step import StepKind
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
FEEDBACK_DECIDED: Final = Message("e5967268fc7342ada657d92e3c0a909b", Priority.INFO)
FEEDBACK_RECOMMENDED: Final = Message("81d309bd49fa4e42a9618781a4f5705e", Priority.INFO)
FEEDBACK_HELPED: Final = Message("72fff315de4a449f8b96dbd263284a31", Priority.INFO)
FEEDBACK_UNDONE: Final = Message("83d066ac4db146f7897f3b66c58abb37", Priority.WARNING)
FEEDBACK_EXPIRED: Final = Message("616cfea61b4e4e3a928d3a1e07398a1e", Priority.INFO)
FEEDBACK_BUDGET: Final = Message("aede952b65df4781b4a64d4a127a86fb", Priority.NOTICE)
FEEDBACK_FAILED: Final = Message("11520f5b30d4477d90296ff9f15264c0", Priority.ERROR)
FEEDBACK_RELEASED: Final = Message("6f155822aac3471981119a1c4d0a9548", Priority.WARNING)
FEEDBACK_DONE: Final = Message("ba0414e6baa142829f14095bc448216f", Priority.WARNING)
FEEDBACK_NOTICE: Final = Message("a38c16452169433b9cea64476cd31a79", Priority.WARNING)

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

OF_STEP: Mapping[StepKind, Message] = MappingProxyType(
    {
        StepKind.DECIDED: FEEDBACK_DECIDED,
        StepKind.RECOMMENDED: FEEDBACK_RECOMMENDED,
        StepKind.HELPED: FEEDBACK_HELPED,
        StepKind.UNDONE: FEEDBACK_UNDONE,
        StepKind.EXPIRED: FEEDBACK_EXPIRED,
        StepKind.BUDGET: FEEDBACK_BUDGET,
        StepKind.FAILED: FEEDBACK_FAILED,
        StepKind.RELEASED: FEEDBACK_RELEASED,
        StepKind.DONE: FEEDBACK_DONE,
    }
)
"""How each step of feedback is reported."""
