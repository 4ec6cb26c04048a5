"""What controllers have learned of a workload, kept across restarts of the daemon and of the container.

A container that is made again has another inode and another id, but is the same workload: it is known by its runtime
and name, a plain unit by its unit's name. One JSON file, replaced by rename.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

from governor.model.errors import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from governor.model.container import Container

FORMAT: Final = 1
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_WORKLOADS: Final = 2000
FORGET_SEC: Final = 60 * 24 * 3600
"""A workload that has not been seen for two months is forgotten."""


class Learned:
    """The file's content. `load` and `save` block on the disk: call them in a worker."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}

    def load(self) -> None:
        """Read the file; one that is missing or not ours is the same as an empty one."""
        try:
            with self._path.open("rb") as file:
                data = json.loads(file.read(MAX_BYTES))
            if data["format"] == FORMAT:
                self._known = {str(name): dict(known) for name, known in data["workloads"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._known = {}

    def of(self, container: Container, controller: str) -> Any:
        """Return what `controller` left of the workload, None where it left nothing."""
        return self._known.get(workload(container), {}).get("controllers", {}).get(controller)

    def note(self, container: Container, controller: str, dumped: Any) -> None:
        """Remember `dumped`, JSON values, until the next save."""
        known = self._known.setdefault(workload(container), {"controllers": {}})
        known["seen"] = int(time.time())
        known["controllers"][controller] = dumped

    def save(self) -> None:
        """Replace the file, without what was not seen for long. Raises Unsupported where the disk does not take it."""
        oldest = time.time() - FORGET_SEC
        recent = sorted(self._known.items(), key=lambda item: -int(item[1].get("seen", 0)))[:MAX_WORKLOADS]
        kept = {name: known for name, known in recent if int(known.get("seen", 0)) >= oldest}
        temporary = self._path.with_suffix(".new")
        try:
            with temporary.open("w") as file:
                json.dump({"format": FORMAT, "workloads": kept}, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._path)
        except OSError as error:
            raise Unsupported(f"what controllers have learned is not kept over a restart: {error}") from error


def workload(container: Container) -> str:
    """Return what a container is known by when it is made again."""
    return f"{container.runtime}/{container.namespace}/{container.name or container.unit or container.id}"
