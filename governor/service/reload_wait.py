"""What `systemctl reload governor` waits for (ExecReload=): asks for a reload, and fails in words where refused."""

from __future__ import annotations

import asyncio
import sys

from governor.bus.connection import Bus
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.service.interfaces import MANAGER, NAME, ROOT_PATH

TIMEOUT_SEC = 50.0


def main() -> int:
    """Return 0 once the policies on disk are in force, 1 with every problem on standard error where they are not."""
    try:
        asyncio.run(_reload())
    except (ActuationError, Unsupported, Gone) as error:
        print(f"<3>reload refused: {error}", file=sys.stderr)  # noqa: T201 - standard error is the journal here
        return 1
    return 0


async def _reload() -> None:
    bus = await Bus.connect()
    try:
        await bus.call(NAME, ROOT_PATH, MANAGER.name, "Reload", timeout_sec=TIMEOUT_SEC)
    finally:
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
