"""governord, with a record of everything that could block its event loop: run in the guest by test_loop.py.

An audit hook (PEP 578) sees each file that is opened, each process that is started and each sleep. In the loop's own
thread only memory-backed files may be opened: the cgroup tree, /proc, and the ledger in /run.
"""

import asyncio
import sys
import threading
import traceback
from pathlib import Path

RECORD = Path("/run/governor/audited-daemon.log")
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


class Recorder:
    """Writes down what offends; what it does itself is not looked at."""

    busy = False


def hook(event: str, arguments: tuple[object, ...]) -> None:
    """Write down what offends, with where it comes from."""
    if Recorder.busy or event not in (*BLOCKING, "open") or not in_loop() or not offends(event, arguments):
        return
    stack = traceback.extract_stack()
    if any("importlib" in frame.filename for frame in stack):
        return
    Recorder.busy = True
    try:
        with RECORD.open("a") as record:
            where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(stack[-7:-1]))
            record.write(f"{event} {arguments[:2]!r} {where}\n")
    finally:
        Recorder.busy = False


RECORD.write_text("")
sys.addaudithook(hook)
from governor.service.main import main  # noqa: E402 - the hook must see its imports too

sys.exit(main([]))
