"""governord, with a record of everything that could block its event loop: run in the guest by test_loop.py.

An audit hook (PEP 578) sees each file that is opened, each process that is started and each sleep. In the loop's own
thread only memory-backed files may be opened: the cgroup tree, /proc, and the ledger in /run.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType

RECORD = "/run/governor/audited-daemon.log"
MEMORY_BACKED = ("/sys/", "/proc/", "/run/governor/", "/dev/")
BLOCKING = ("subprocess.Popen", "os.system", "os.fork", "socket.getaddrinfo", "socket.gethostbyname", "time.sleep")


def in_loop() -> bool:
    """Tell whether this thread runs an event loop right now, and nothing is only being imported."""
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def offends(event: str, arguments: tuple[object, ...]) -> bool:
    """Tell whether an audit event may block for as long as a disk or another process likes."""
    if event in BLOCKING:
        return True
    if event != "open" or not isinstance(arguments[0], str):
        return False
    return arguments[0].startswith("/") and not arguments[0].startswith(MEMORY_BACKED)


def callers() -> Iterator[CodeType]:
    """Yield the code that led here, innermost first; traceback's own functions would open the source files."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def hook(event: str, arguments: tuple[object, ...]) -> None:
    """Write down what offends, with where it comes from."""
    if event not in (*BLOCKING, "open") or not in_loop() or not offends(event, arguments):
        return
    stack = list(callers())
    if any("importlib" in code.co_filename for code in stack):
        return
    where = " < ".join(code.co_qualname for code in stack[:6])
    os.write(RECORD_FD, f"{event} {arguments[:2]!r} {where}\n".encode())


RECORD_FD = os.open(RECORD, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
sys.addaudithook(hook)
from governor.service.main import main  # noqa: E402 - the hook must see its imports too

sys.exit(main([]))
