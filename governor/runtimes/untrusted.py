"""JSON from runtimes: bounded, and taken apart without believing any type in it."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from governor.model.container import NO_LABELS
from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LIMIT_BYTES = 8 * 1024 * 1024
"""A listing of one container; an OCI config.json has some tens of KiB, podman's list 1 KiB a container."""


def parse_json(data: bytes) -> Any:
    """Return what the JSON text says. Raises Unsupported where it is none, or nested so deep that it is an attack."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unsupported(f"not JSON that we can read: {type(error).__name__}") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file of root's own says. Raises Gone where there is none, Unsupported where it is no use."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Gone(f"{path} is not there") from error
    except (OSError, ValueError) as error:
        raise Unsupported(f"{path} is not to be read: {error}") from error
    if len(data) > LIMIT_BYTES:
        raise Unsupported(f"{path} is larger than {LIMIT_BYTES} bytes")
    return parse_json(data)


def items(value: Any) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def fields(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """Return `value` if it is a string, else ""; half a surrogate pair, which no encoding takes, becomes "?"."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def labels(value: Any) -> Mapping[str, str]:
    """Return the pairs of strings in `value`, read-only; whatever else is in it is left out."""
    found = {text(key): text(each) for key, each in fields(value).items() if isinstance(each, str)}
    return MappingProxyType(found) if found else NO_LABELS
