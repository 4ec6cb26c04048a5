"""What a recording says of a container, and the checks that all of a recording goes through."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from governor.model.container import Container, Pod
from governor.model.values import INFINITY

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT_LIMIT: Final = 64 * 1024
_MOST_DIGITS: Final = 10
_WORDS: Final = ("runtime", "namespace", "id", "name", "image", "unit", "slice", "cgroup")


class NotARecording(ValueError):
    """The file is no recording, or what follows in it is not; the text says why, beginning with "it" or "a"."""


def container_of(raw: Mapping[str, Any]) -> Container:
    """Return the container of an `add` line."""
    words: dict[str, Any] = {name: text(raw.get(name, "")) for name in _WORDS}
    user, pod = raw.get("user"), raw.get("pod")
    return Container(
        **words,
        labels=MappingProxyType({key: text(value) for key, value in mapping(raw.get("labels", {})).items()}),
        user=None if user is None else integer(user),
        inode=integer(raw.get("inode"), least=1),
        pod=None if pod is None else _pod(mapping(pod)),
        described=raw.get("described") is not False,
    )


def _pod(raw: Mapping[str, Any]) -> Pod:
    return Pod(**{name: text(raw.get(name, "")) for name in ("uid", "qos", "namespace", "name", "container")})


def mapping(raw: Any) -> dict[str, Any]:
    """Return `raw`, an object of JSON. Raises NotARecording."""
    if not isinstance(raw, dict):
        raise NotARecording("a line of it is not what it should be")
    return raw


def integer(raw: Any, least: int = 0, most: int = INFINITY) -> int:
    """Return `raw`, a whole number within the bounds. Raises NotARecording."""
    if isinstance(raw, bool) or not isinstance(raw, int) or not least <= raw <= most:
        raise NotARecording(f"a number of it is wrong: {str(raw)[:40]}")
    return raw


def ordinal(raw: str) -> int:
    """Return `raw`, the digits of a small number, as JSON has them for a key. Raises NotARecording."""
    if not raw.isdecimal() or len(raw) > _MOST_DIGITS:
        raise NotARecording(f"a number of it is wrong: {raw[:40]}")
    return int(raw)


def text(raw: Any) -> str:
    """Return `raw`, a text that is not endless. Raises NotARecording."""
    if not isinstance(raw, str) or len(raw) > _TEXT_LIMIT:
        raise NotARecording("a text of it is none, or too long")
    return raw
