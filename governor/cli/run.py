"""run: a command in a transient scope that has a policy's limits, for what is no container.

The scope is asked for with this very process in it, which then becomes the command: terminal, environment, signals and
exit code are the command's own. A one-shot process is where pystemd's blocking calls do no harm.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from governor.cli import output
from governor.cli.exits import Exit
from governor.cli.values import assignments, to_variant
from governor.model.directives import BY_PROPERTY
from governor.model.errors import ActuationError, Gone, Unsupported
from governor.model.policy import Mode
from governor.policy.load import Directories, load

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from governor.model.policy import Policy
    from governor.model.values import Value

WITHOUT_PROPERTY: Final = frozenset({"CPUBurstUSec"})
"""What systemd has no property for: only the daemon can write it, as a file."""
MOVE_TIMEOUT_SEC: Final = 5.0
"""systemd moves a process within milliseconds; a host that thrashes may need longer."""
_COMMAND_NOT_FOUND, _COMMAND_NOT_EXECUTABLE = 127, 126
"""As shells have it."""


def run(arguments: Namespace) -> int:
    """Become the command within the policy's limits; return only where that fails, with 126 or 127 as a shell does."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        output.complain("run takes a command: governorctl run --policy NAME -- COMMAND …")
        return Exit.USAGE
    try:
        extra = assignments(arguments.property)
    except ValueError as error:
        output.complain(str(error))
        return Exit.USAGE
    policy, host_mode = find_policy(arguments.policy)
    if Mode.OBSERVE in (policy.mode, host_mode):
        output.complain(f"the mode of {policy.name} is observe: the command runs without limits")
    else:
        limits = {name: limit.value for name, limit in policy.limits.items()} | extra
        enter(arguments.unit or scope_name(policy.name), without_burst(limits), user=arguments.user)
    return become(command)


def find_policy(name: str, directories: Directories | None = None) -> tuple[Policy, Mode]:
    """Return the policy called `name` and the host's mode.

    Raises Gone where no layer has it, PolicyError where a file is wrong, as the daemon would refuse the set, too.
    """
    found = load(directories or Directories())
    for policy in found.policies:
        if policy.name == name:
            return policy, found.settings.mode
    known = ", ".join(policy.name for policy in found.policies) or "none"
    raise Gone(f"there is no policy {name!r}; there are: {known}")


def without_burst(limits: Mapping[str, Value]) -> dict[str, Value]:
    """Return the limits that a scope can have; say on standard error which it cannot."""
    for name in sorted(WITHOUT_PROPERTY & limits.keys()):
        output.complain(f"{BY_PROPERTY[name].name}= is not applied: systemd has no property for it")
    return {name: value for name, value in limits.items() if name not in WITHOUT_PROPERTY}


def scope_name(policy: str) -> str:
    """Return a new unit name for a command under `policy`, of characters that unit names may have."""
    return f"governor-run-{re.sub(r'[^A-Za-z0-9:_.-]', '_', policy)[:64]}-{secrets.token_hex(4)}.scope"


def enter(unit: str, limits: Mapping[str, Value], *, user: bool, timeout_sec: float = MOVE_TIMEOUT_SEC) -> None:
    """Start the scope `unit` with `limits` and this process in it, and wait until it is.

    Raises Unsupported without pystemd or permission, ActuationError where systemd refuses or does not move us.
    """
    unit = unit if unit.endswith(".scope") else f"{unit}.scope"
    properties = {b"PIDs": [os.getpid()], b"CollectMode": b"inactive-or-failed", b"Description": b"governorctl run"}
    properties |= {name.encode(): _as_pystemd(to_variant(name, value).value) for name, value in limits.items()}
    _start(unit, properties, user=user)
    deadline = time.monotonic() + timeout_sec
    while not _is_inside(unit):
        if time.monotonic() > deadline:
            raise ActuationError(f"systemd accepted {unit}, but did not move the command into it")
        time.sleep(0.005)


def _start(unit: str, properties: Mapping[bytes, Any], *, user: bool) -> None:
    """Call StartTransientUnit."""
    try:
        dbuslib = importlib.import_module("pystemd.dbuslib")
        dbusexc = importlib.import_module("pystemd.dbusexc")
        systemd1 = importlib.import_module("pystemd.systemd1")
        signatures = importlib.import_module("pystemd.systemd1.unit_signatures")
    except ImportError as error:
        raise Unsupported(f"run needs pystemd (Debian: python3-pystemd): {error}") from error
    # pystemd knows no signature of the newer directives, nor that of PIDs
    known: dict[bytes, bytes] = getattr(signatures, "KNOWN_UNIT_SIGNATURES")  # noqa: B009 - an untyped module
    known |= {b"PIDs": b"au", b"CollectMode": b"s"}
    known |= {d.property.encode(): d.signature.encode() for d in BY_PROPERTY.values()}
    try:
        with dbuslib.DBus(user_mode=user) as bus, systemd1.Manager(bus=bus) as manager:
            manager.Manager.StartTransientUnit(unit.encode(), b"fail", properties)
    except dbusexc.DBusBaseError as error:
        name = "org.freedesktop.DBus.Error.AccessDenied: " if _is_refusal(type(error).__name__) else ""
        raise ActuationError(f"{name}systemd did not start {unit}: {error.err_message or error}") from error


def _is_refusal(error_class: str) -> bool:
    return "AccessDenied" in error_class or "InteractiveAuthorization" in error_class


def _as_pystemd(value: Any) -> Any:
    """Return a D-Bus value as pystemd takes it: strings as bytes, the bytes of an `ay` as numbers."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (list, tuple)):
        return [_as_pystemd(item) for item in value]
    return list(value) if isinstance(value, (bytes, bytearray)) else value


def _is_inside(unit: str) -> bool:
    """Return whether this process is in the cgroup of `unit`, on cgroup v2 or in systemd's own v1 hierarchy."""
    return any(line.endswith(f"/{unit}") for line in Path("/proc/self/cgroup").read_text().splitlines())


def become(command: list[str]) -> int:
    """Replace this process by `command`; return a shell's exit code where that is impossible."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)  # Python ignores them, which the command would inherit
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)  # noqa: S606 - running what the user gave is the purpose
    except OSError as error:
        output.complain(f"{command[0]}: {error.strerror}")
        return _COMMAND_NOT_FOUND if isinstance(error, FileNotFoundError) else _COMMAND_NOT_EXECUTABLE
