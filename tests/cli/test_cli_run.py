"""`governorctl run`: the policy's limits in the words that systemd gets, and a command that is left alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from governor.bus.messages import ACCESS_DENIED, Failure
from governor.cli.exits import Exit
from governor.cli.run import become, find_policy, scope_name, without_burst
from governor.model.errors import Gone
from governor.model.policy import Mode
from governor.model.values import Share
from governor.policy.load import Directories, Layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cli.fake_governor import FakeManager

pytest.importorskip("pystemd", reason="pystemd is not installed: run is not there either")

LIMITS = {
    "CPUWeight": 300,
    "CPUQuotaPerSecUSec": 500_000,
    "AllowedCPUs": (0, 1, 9),
    "MemoryHigh": 1 << 29,
    "IOReadBandwidthMax": (("/dev/null", 1000),),
    "IPAddressDeny": ("10.0.0.0/8",),
    "RestrictNetworkInterfaces": (True, ("lo",)),
    "DeviceAllow": (("/dev/null", "rw"),),
    "DevicePolicy": "closed",
    "IPAccounting": True,
}


# pystemd holds the GIL while it waits, so that a fake in this process could not answer.
CHILD = """
import sys
from governor.cli.exits import verdict
from governor.cli.run import enter
from governor.model.errors import ActuationError
from governor.model.values import Share
try:
    enter("mine", LIMITS, user=False, timeout_sec=0.1)
except ActuationError as error:
    ending = verdict(error)
    print(ending.text)
    sys.exit(ending.code)
"""


def _enter(limits: Mapping[str, object]) -> tuple[int, str, int]:
    """Return how `enter` ended in a process of its own: exit code, text and process id."""
    command = [sys.executable, "-c", CHILD.replace("LIMITS", repr(limits))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text, _ = process.communicate(timeout=30)
    return process.returncode, text, process.pid


def _directories(root: Path, policy: str, settings: str) -> Directories:
    layer = root / "etc/governor/policies.d"
    layer.mkdir(parents=True)
    for path, text in ((layer / "50-batch.toml", policy), (root / "etc/governor/governor.toml", settings)):
        path.write_text(text)
        path.chmod(0o644)
    for directory in (layer, layer.parent):
        directory.chmod(0o755)
    layers = (Layer(path=Path("/etc/governor/policies.d"), mode=Mode.ENFORCE),)
    return Directories(layers=layers, root=root, uid=os.getuid())


def test_the_scope_is_asked_for_with_every_limit_and_this_process(manager: FakeManager) -> None:
    code, text, pid = _enter(LIMITS)
    assert (code, "did not move" in text) == (Exit.FAILURE, True)
    unit, mode, properties, extra = manager.body_of("StartTransientUnit")
    assert (unit, mode, extra) == ("mine.scope", "fail", [])
    found = {name: (value.signature, value.value) for name, value in properties}
    assert found["PIDs"] == ("au", [pid])
    assert found["CPUWeight"] == ("t", 300)
    assert found["AllowedCPUs"] == ("ay", b"\x03\x02")
    assert found["MemoryHigh"] == ("t", 1 << 29)
    assert [tuple(item) for item in found["IOReadBandwidthMax"][1]] == [("/dev/null", 1000)]
    assert [(f, bytes(a), p) for f, a, p in found["IPAddressDeny"][1]] == [(2, b"\x0a\0\0\0", 8)]
    assert found["RestrictNetworkInterfaces"][0] == "(bas)"
    assert found["DevicePolicy"] == ("s", "closed")
    assert found["IPAccounting"] == ("b", True)
    assert set(found) >= set(LIMITS)


def test_a_share_becomes_bytes_of_this_host(manager: FakeManager) -> None:
    _enter({"MemoryMax": Share(5000)})
    properties = {name: value.value for name, value in manager.body_of("StartTransientUnit")[2]}
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(properties["MemoryMax"] - total // 2) < total // 100


def test_what_systemd_refuses_is_said(manager: FakeManager) -> None:
    manager.failure = Failure(ACCESS_DENIED, "only root")
    assert _enter({})[0] == Exit.NOT_PERMITTED
    manager.failure = Failure("org.freedesktop.systemd1.UnitExists", "it is there")
    code, text, _ = _enter({})
    assert (code, "it is there" in text) == (Exit.FAILURE, True)


def test_burst_is_left_out_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert without_burst({"CPUBurstUSec": 1, "CPUWeight": 2}) == {"CPUWeight": 2}
    assert "CPUBurst= is not applied" in capsys.readouterr().err


def test_a_policy_is_found_by_its_name_with_the_hosts_mode(tmp_path: Path) -> None:
    directories = _directories(tmp_path, '[match]\nname="x"\n[limits]\nCPUWeight=5\n', '[governor]\nmode="observe"\n')
    policy, mode = find_policy("50-batch", directories)
    assert policy.limits["CPUWeight"].value == 5
    assert mode is Mode.OBSERVE
    with pytest.raises(Gone, match="50-batch"):
        find_policy("60-none", directories)


def test_scope_names_are_valid_and_never_the_same() -> None:
    names = {scope_name("50 web/é") for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"governor-run-50_web__-[0-9a-f]{8}\.scope", name) for name in names)


def test_the_command_keeps_its_exit_code_and_default_signals() -> None:
    code = "import sys; from governor.cli.run import become; sys.exit(become(sys.argv[1:]))"
    command = [sys.executable, "-c", code]
    assert subprocess.run([*command, "sh", "-c", "exit 42"], check=False).returncode == 42
    probe = [*command, "grep", "SigIgn", "/proc/self/status"]
    ignored = subprocess.run(probe, check=True, capture_output=True, text=True).stdout
    assert int(ignored.split()[1], 16) & (1 << 12) == 0  # SIGPIPE is 13
    assert become(["/nonexistent"]) == 127
    assert become(["/etc/passwd"]) == 126
