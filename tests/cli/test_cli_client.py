"""governorctl against a real bus."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from governor.bus.messages import ACCESS_DENIED, Failure
from governor.cli.exits import Exit
from governor.cli.main import main
from governor.cli.output import columns
from tests.cli.fake_governor import (
    DB,
    EXPLANATIONS,
    GIB,
    HOSTILE,
    INFINITY,
    ROOT,
    ROWS,
    TWIN_1,
    TWIN_2,
    WEB,
    FakeGovernor,
)

Capture = pytest.CaptureFixture[str]


def _json(capsys: Capture, *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == Exit.OK
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("daemon")
def test_status_shows_mode_policies_and_features(capsys: Capture) -> None:
    assert main(["status"]) == Exit.OK
    text = capsys.readouterr().out
    for part in ("0.1.0", "enforce", "50-web", "psi, bfq", "1.2 ms"):
        assert part in text
    found = _json(capsys, "status")
    assert found["NContainers"] == len(ROWS)
    assert found["Policies"] == [{"name": "50-web", "file": "/etc/governor/policies.d/50-web.toml", "mode": "enforce"}]


@pytest.mark.usefixtures("daemon")
def test_list_is_a_table_with_a_line_each(capsys: Capture) -> None:
    assert main(["ls"]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert any(line.startswith("web-1") and WEB[:12] in line for line in lines)
    rows = _json(capsys, "list")
    assert {row["id"] for row in rows} == {row[0] for row in ROWS}
    assert main(["list", "-q"]) == Exit.OK
    assert "db\n" in capsys.readouterr().out


@pytest.mark.usefixtures("daemon")
def test_a_hostile_name_cannot_steer_a_terminal() -> None:
    """On a real pty, where colour is on: no control character but newline and our own colours leaves the program."""
    for command in (["list"], ["show", "d" * 64], ["explain", "web-1"], ["status"], ["list", "--json"]):
        text = _on_a_pty([sys.executable, "-m", "governor.cli.main", *command])
        for ours in ("\x1b[1m", "\x1b[0m", "\x1b[32m", "\r\n"):
            text = text.replace(ours, "")
        assert all(character.isprintable() or character == "\n" for character in text), (command, text[:400])
        assert len(text) < 200_000 if "--json" in command else len(text) < 5000
    assert "\nGOVERNOR_POLICY" not in text


def _on_a_pty(command: list[str]) -> str:
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    data = b""
    try:
        while chunk := os.read(control, 65536):
            data += chunk
    except OSError:  # EIO: the last writer has closed its side
        pass
    os.close(control)
    assert process.wait(30) == 0, data
    return data.decode()


@pytest.mark.usefixtures("daemon")
def test_colour_only_on_a_terminal() -> None:
    command = [sys.executable, "-m", "governor.cli.main", "status"]
    assert "\x1b" in _on_a_pty(command)
    assert b"\x1b" not in subprocess.run(command, check=True, capture_output=True).stdout
    plain = _on_a_pty(["env", "NO_COLOR=1", *command])
    assert "\x1b" not in plain


@pytest.mark.usefixtures("daemon")
def test_show_speaks_systemds_words(capsys: Capture) -> None:
    assert main(["show", "web-1"]) == Exit.OK
    text = capsys.readouterr().out
    assert "tier=front\\x1bend" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("CPUQuota"))
    assert row == ["CPUQuota", "150%", "infinity"]
    found = _json(capsys, "show", "web-1")
    assert found["Limits"]["MemoryHigh"] == {"value": GIB, "spelled": "1G"}


def test_explain_tells_value_original_source_reason_and_losers(daemon: FakeGovernor, capsys: Capture) -> None:
    assert main(["explain", "web-1"]) == Exit.OK
    text = capsys.readouterr().out
    for part in (
        "MemoryHigh=512M",
        "[held]",
        "infinity",
        "policy:50-web",
        "\\x1b[2J",
        "policy:10-all=1G",
        "AllowedCPUs=0-3",
    ):
        assert part in text
    assert "it is released" in text
    first, second = _json(capsys, "explain", "web-1")
    assert first["Value"] == {"value": GIB // 2, "spelled": "512M"}
    assert first["Original"]["value"] == INFINITY
    assert first["Directive"] == "MemoryHigh"
    assert second["Value"]["value"] == [0, 1, 2, 3]
    assert daemon.body_of("Explain") == [WEB]
    assert len(EXPLANATIONS) == 2


@pytest.mark.parametrize(
    ("text", "meant"),
    [("web-1", WEB), (WEB, WEB), ("aaaa", WEB), (f"docker-{WEB}.scope", WEB), (f"libpod-{DB}", DB), (TWIN_2, TWIN_2)],
)
def test_names_units_and_prefixes_become_full_ids(daemon: FakeGovernor, text: str, meant: str) -> None:
    assert main(["release", text]) == Exit.OK
    assert daemon.body_of("Release") == [meant]


@pytest.mark.parametrize("text", ["twin", "cccc"])
def test_an_ambiguous_name_lists_candidates_and_changes_nothing(
    daemon: FakeGovernor, capsys: Capture, text: str
) -> None:
    assert main(["release", text]) == Exit.NOT_FOUND
    message = capsys.readouterr().err
    assert TWIN_1 in message
    assert TWIN_2 in message
    assert not [call for call in daemon.calls if call.member == "Release"]


@pytest.mark.usefixtures("daemon")
def test_an_unknown_name_is_not_found(capsys: Capture) -> None:
    assert main(["show", "nobody\x1b"]) == Exit.NOT_FOUND
    assert "\x1b" not in capsys.readouterr().err
    assert main(["show", ""]) == Exit.NOT_FOUND


def test_set_sends_properties_and_the_lease(daemon: FakeGovernor) -> None:
    words = ["MemoryHigh=512M", "CPUQuota=150%", "IOReadBandwidthMax=/dev/null 20M", "IOReadBandwidthMax=/dev/zero 1M"]
    assert main(["set", "web-1", *words, "--for", "10min"]) == Exit.OK
    container, properties, lease_usec = daemon.body_of("SetLimits")
    assert daemon.calls[-1].interactive  # polkit may ask for a password
    assert (container, lease_usec) == (WEB, 600_000_000)
    found = {name: (value.signature, value.value) for name, value in properties}
    assert found["MemoryHigh"] == ("t", GIB // 2)
    assert found["CPUQuotaPerSecUSec"] == ("t", 1_500_000)
    assert sorted(map(tuple, found["IOReadBandwidthMax"][1])) == [("/dev/null", 20_000_000), ("/dev/zero", 1_000_000)]


def test_set_until_release_has_no_lease_end_and_resolves_shares(daemon: FakeGovernor) -> None:
    assert main(["set", "web-1", "MemoryHigh=50%"]) == Exit.OK
    _, properties, lease_usec = daemon.body_of("SetLimits")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert lease_usec == 0
    assert abs(properties[0][1].value - total // 2) < total // 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["MemoryHihg=1G"], "MemoryHigh"),
        (["MemoryHigh"], "DIRECTIVE=VALUE"),
        (["MemoryHigh=lots"], "MemoryHigh"),
        (["MemoryHigh=1G", "--for", "soon"], "--for"),
        (["MemoryHigh=1G", "--for", "infinity"], "--for"),
    ],
)
def test_a_wrong_assignment_is_a_usage_error(capsys: Capture, words: list[str], said: str) -> None:
    assert main(["set", "web-1", *words]) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_mode_shows_and_switches(daemon: FakeGovernor, capsys: Capture) -> None:
    assert main(["mode"]) == Exit.OK
    assert capsys.readouterr().out == "enforce\n"
    assert main(["mode", "observe"]) == Exit.OK
    assert daemon.body_of("SetMode") == ["observe"]


def test_reload_reports_the_problems_of_a_refused_policy(daemon: FakeGovernor, capsys: Capture) -> None:
    assert main(["reload"]) == Exit.OK
    capsys.readouterr()
    daemon.failures["Reload"] = Failure("org.governor1.Error.PolicyInvalid", "a.toml:3:1: wrong\nb.toml:1:1: too")
    assert main(["reload"]) == Exit.FAILURE
    message = capsys.readouterr().err
    assert "a.toml:3:1: wrong\n" in message
    assert "b.toml:1:1: too\n" in message
    assert "org.governor1" not in message


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (ACCESS_DENIED, Exit.NOT_PERMITTED),
        ("org.governor1.Error.Protected", Exit.NOT_PERMITTED),
        ("org.governor1.Error.NoSuchContainer", Exit.NOT_FOUND),
        ("org.governor1.Error.NotSupported", Exit.UNSUPPORTED),
        ("org.governor1.Error.BadProperty", Exit.FAILURE),
        ("org.freedesktop.DBus.Error.Failed", Exit.FAILURE),
    ],
)
def test_each_error_has_its_exit_code(daemon: FakeGovernor, capsys: Capture, name: str, code: Exit) -> None:
    daemon.failures["Release"] = Failure(name, "because")
    assert main(["release", "web-1"]) == code
    assert "governorctl: because\n" in capsys.readouterr().err


@pytest.mark.usefixtures("system_bus")
def test_without_a_daemon_the_user_is_told_to_start_it(capsys: Capture) -> None:
    assert main(["status"]) == Exit.NOT_RUNNING
    assert "systemctl start governor" in capsys.readouterr().err


def test_without_a_bus_the_user_is_told_too(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    assert main(["list"]) == Exit.NOT_RUNNING
    assert "systemctl start governor" in capsys.readouterr().err


def test_doctor_asks_the_daemon(daemon: FakeGovernor, capsys: Capture) -> None:
    assert main(["doctor"]) == Exit.FAILURE
    assert "no system call rules" in capsys.readouterr().out
    daemon.failures["Doctor"] = Failure("org.freedesktop.DBus.Error.ServiceUnknown", "gone")
    assert main(["doctor", "--json"]) == Exit.NOT_RUNNING
    captured = capsys.readouterr()
    assert json.loads(captured.out)["daemon"] is False
    assert "daemon did not answer" in captured.err


@pytest.mark.usefixtures("daemon")
def test_a_reader_that_stops_early_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "governor.cli.main", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(30) == 0


def test_columns_counts_what_a_terminal_shows() -> None:
    assert columns("web") == 3
    assert columns("容器") == 4
    assert columns("e\u0301") == 1
    assert columns("\x1b[32myes\x1b[0m") == 3
    assert ROOT in ROWS[0][4]
    assert len(HOSTILE) > 64 * 1024
