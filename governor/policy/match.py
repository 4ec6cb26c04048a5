"""Which containers a policy is for. Pure: what a container is called is hostile data and is only compared."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from governor.policy.globs import any_matches, is_literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.container import Container, Pod
    from governor.model.policy import Match

PLAIN: Final = "systemd"
"""The runtime of units that no container runtime made."""

NO_USERS: Final[Mapping[int, str]] = MappingProxyType({})


def matches(match: Match, container: Container, users: Mapping[int, str] = NO_USERS) -> bool:
    """Return whether every key of `match` holds for `container`; of a key's globs, one is enough.

    `users` gives the names of uids, for containers beneath a user's manager: only policies with `match.user` are for
    those. A plain service needs its exact name in `match.unit`; a plain scope or other unit needs `match.unit`, or
    "systemd" in `match.runtime`. So a policy that is meant for containers never meets a service by accident.
    """
    return (
        _meant_for_plain(match, container)
        and _user_holds(match.user, container, users)
        and all(not patterns or any_matches(patterns, text) for patterns, text in _texts(match, container))
        and all(_label_holds(patterns, container.labels.get(label)) for label, patterns in match.labels.items())
        and _pod_holds(match.kubernetes, container.pod)
    )


def _texts(match: Match, container: Container) -> tuple[tuple[tuple[str, ...], str], ...]:
    return (
        (match.runtime, container.runtime),
        (match.name, container.name),
        (match.image, container.image),
        (match.unit, container.unit),
        (match.slice, container.slice),
    )


def _meant_for_plain(match: Match, container: Container) -> bool:
    """Return whether `match` may be for a unit that is no container, where `container` is one."""
    if container.runtime != PLAIN:
        return True
    if container.unit.endswith(".service"):
        return any(is_literal(pattern) and pattern == container.unit for pattern in match.unit)
    return bool(match.unit) or PLAIN in match.runtime


def _user_holds(patterns: tuple[str, ...], container: Container, users: Mapping[int, str]) -> bool:
    if container.user is None or not patterns:
        return container.user is None and not patterns
    name = users.get(container.user)
    return any_matches(patterns, str(container.user)) or (name is not None and any_matches(patterns, name))


def _label_holds(patterns: tuple[str, ...], text: str | None) -> bool:
    return text is not None and any_matches(patterns, text)


def _pod_holds(wanted: Mapping[str, tuple[str, ...]], pod: Pod | None) -> bool:
    if not wanted:
        return True
    if pod is None:
        return False
    texts = {"namespace": pod.namespace, "pod": pod.name, "container": pod.container, "qos": pod.qos}
    return all(any_matches(patterns, texts.get(key, "")) for key, patterns in wanted.items())
