"""What the daemon asks of the kernel for itself."""

from __future__ import annotations

import ctypes

_PR_SET_THP_DISABLE = 41
"""linux/prctl.h; man 2const PR_SET_THP_DISABLE"""


def disable_huge_pages() -> bool:
    """Keep this process to pages of the base size and return whether the kernel agreed.

    An interpreter's heap is many small objects: huge pages round it up by megabytes and speed nothing up.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_ulong(one) for one in (1, 0, 0, 0))
    return bool(libc.prctl(ctypes.c_int(_PR_SET_THP_DISABLE), *arguments) == 0)
