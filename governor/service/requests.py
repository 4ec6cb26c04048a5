"""What callers of org.governor1 ask for, understood or refused in words: containers, limits, modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.bus.codec import decode
from governor.bus.messages import ACCESS_DENIED, FAILED, INVALID_ARGS, Failure
from governor.model.directives import BY_NAME, BY_PROPERTY, FREEZE
from governor.model.errors import ActuationError, Gone, PolicyError, Unsupported
from governor.model.policy import Mode
from governor.policy.words import suggestion
from governor.service.views import container_path, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from governor.model.container import Container
    from governor.model.values import Value
    from governor.service.polkit import Action

_ERROR = "org.governor1.Error."
NO_SUCH_CONTAINER = _ERROR + "NoSuchContainer"
BAD_PROPERTY = _ERROR + "BadProperty"
PROTECTED = _ERROR + "Protected"
POLICY_INVALID = _ERROR + "PolicyInvalid"
NOT_SUPPORTED = _ERROR + "NotSupported"

MAX_LEASE_USEC = 10 * 366 * 86_400 * 1_000_000
_MAX_TEXT = 16_384
_MAX_NAMED = 10


def find(containers: Iterable[Container], wanted: str) -> Container | Failure:
    """Return the one container whose id, `runtime_namespace_id`, name or unit is `wanted`, in this order."""
    everything = list(containers)
    meanings = (
        lambda container: wanted in (container.id, container.key),
        lambda container: container.name == wanted,
        lambda container: container.unit == wanted,
    )
    for means in meanings:
        found = [container for container in everything if means(container)]
        if len({container_path(container) for container in found}) == 1:
            return found[-1]
        if found:
            return _ambiguous(wanted, found)
    return _unknown(wanted, "; ListContainers() has them all")


def find_exactly(containers: Iterable[Container], wanted: str) -> Container | Failure:
    """Return the container whose full id or `runtime_namespace_id` is `wanted`: changes guess nothing."""
    everything = list(containers)
    found = [container for container in everything if wanted in (container.id, container.key)]
    if len({container_path(container) for container in found}) == 1:
        return found[-1]
    if found:
        return _ambiguous(wanted, found)
    if isinstance(find(everything, wanted), Failure):
        return _unknown(wanted, "; ListContainers() has them all")
    return _unknown(wanted, " by this id; changes take full ids only, which GetContainer() and ListContainers() tell")


def limits_from(pairs: Sequence[Sequence[Any]]) -> dict[str, Value] | Failure:
    """Return the limits in an a(sv), or what is wrong with it."""
    if not pairs:
        return Failure(BAD_PROPERTY, "no property is given; Release() takes limits back")
    values: dict[str, Value] = {}
    for name, variant in pairs:
        if name in values:
            return Failure(BAD_PROPERTY, f"{name} is given twice")
        if name not in BY_PROPERTY or name == FREEZE:
            return Failure(BAD_PROPERTY, _unknown_property(text(name)[:80]))
        try:
            values[name] = decode(name, variant)
        except (TypeError, ValueError) as wrong:
            return Failure(BAD_PROPERTY, clipped(f"{name}: {wrong}"))
    return values


def lease_problem(lease_usec: int) -> Failure | None:
    """Return what is wrong with a lease of `lease_usec`, or None."""
    if lease_usec > MAX_LEASE_USEC:
        return Failure(INVALID_ARGS, "a lease lasts at most ten years; 0 lasts until Release()")
    return None


def mode_from(word: str) -> Mode | Failure:
    """Return the mode called `word`, or what is wrong."""
    try:
        return Mode(word)
    except ValueError:
        return Failure(INVALID_ARGS, f"{text(word)[:80]!r} is no mode; it is observe or enforce")


def denied(action: Action) -> Failure:
    """Return the answer to who may not do `action`."""
    return Failure(ACCESS_DENIED, f"this needs root, or a polkit rule that allows {action}")


def failure_of(error: Exception, policy_error: str) -> Failure:
    """Return the answer for one of the project's exceptions; `policy_error` is the name for a PolicyError."""
    if isinstance(error, PolicyError):
        return Failure(policy_error, clipped(str(error)))
    if isinstance(error, Gone):
        return Failure(NO_SUCH_CONTAINER, clipped(str(error)))
    if isinstance(error, Unsupported):
        return Failure(NOT_SUPPORTED, clipped(str(error)))
    assert isinstance(error, ActuationError)
    return Failure(FAILED, clipped(str(error)))


def clipped(words: str) -> str:
    """Return `words` fit for an error's text."""
    return text(words if len(words) <= _MAX_TEXT else words[:_MAX_TEXT] + "…")


def _unknown(wanted: str, hint: str) -> Failure:
    return Failure(NO_SUCH_CONTAINER, f"there is no container {text(wanted)[:80]!r}{hint}")


def _ambiguous(wanted: str, found: Sequence[Container]) -> Failure:
    named = ", ".join(text(container.key) for container in found[:_MAX_NAMED])
    more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    return Failure(NO_SUCH_CONTAINER, clipped(f"{wanted[:80]!r} is {len(found)} containers: {named}{more}; name one"))


def _unknown_property(name: str) -> str:
    if name in BY_NAME:
        return f"{name} is a directive; its property is {BY_NAME[name].property}"
    return f"{name!r} is no property of systemd.resource-control{suggestion(name, BY_PROPERTY)}"
