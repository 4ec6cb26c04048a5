"""What systemd writes on a cgroup's directory: the invocation that the cgroup belongs to, without a question to PID 1.

systemd sets `trusted.invocation_id` on every unit's cgroup (src/core/cgroup.c, cgroup_xattr_apply()). Only
CAP_SYS_ADMIN may write or read the trusted namespace, so a container that owns its directory cannot forge it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.kernel.cgroup import Cgroup

_INVOCATION = "trusted.invocation_id"
_HEX_DIGITS = frozenset("0123456789abcdef")
_ID_LENGTH = 32


def invocation_id(cgroup: Cgroup) -> str:
    """Return the unit's InvocationID as 32 hex digits, or "" where there is none or we may not read it."""
    try:
        text = os.getxattr(cgroup.fileno(), _INVOCATION).decode("ascii", "replace")
    except OSError:
        return ""
    return text if len(text) == _ID_LENGTH and _HEX_DIGITS.issuperset(text) else ""
