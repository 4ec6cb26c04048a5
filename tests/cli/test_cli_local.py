"""What governorctl does without a daemon: check, schema, completion, help, doctor's own probes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from governor.cli.completion import script
from governor.cli.exits import MEANINGS, Exit
from governor.cli.main import main
from governor.cli.parser import each_command

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
COMMANDS = [
    "status",
    "list",
    "show",
    "explain",
    "reload",
    "mode",
    "set",
    "release",
    "check",
    "schema",
    "top",
    "record",
    "simulate",
    "signals",
    "doctor",
    "completion",
    "run",
]
GOOD = '[match]\nname = "web-*"\n[limits]\nMemoryHigh = "512M"\n'
BAD = '[match]\nname = "web-*"\n[limits]\nMemoryHihg = "512M"\n\tCPUQuota = "much"\n'


def test_there_is_every_command() -> None:
    found: list[str] = []
    each_command(lambda name, _parser: found.append(name))
    assert sorted(found) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == Exit.OK
    text = capsys.readouterr().out
    assert f"governorctl {command}" in text
    assert "--json" in text


def test_help_lists_exit_codes_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from governor.cli.parser import build_parser; text = build_parser().format_help();"
        "assert not {'asyncio', 'tomli', 'pystemd', 'dbus_next', 'dbus_fast'} & set(sys.modules); print(text)"
    )
    text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for meaning in MEANINGS.values():
        assert meaning in text


def test_a_wrong_line_ends_with_2(capsys: Capture) -> None:
    for line in ([], ["nonsense"], ["show"], ["mode", "loud"], ["run", "--", "true"]):
        with pytest.raises(SystemExit) as ended:
            main(line)
        assert ended.value.code == Exit.USAGE
    capsys.readouterr()
    assert main(["run", "--policy", "x"]) == Exit.USAGE


def test_check_accepts_a_right_policy(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "web.toml").write_text(GOOD)
    assert main(["check", str(tmp_path / "web.toml")]) == Exit.OK
    assert main(["check", str(tmp_path), "--json"]) == Exit.OK
    assert capsys.readouterr().out.endswith("[]\n")


def test_check_prints_every_problem_with_its_caret(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    assert main(["check", str(path)]) == Exit.FAILURE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{path}:4:1: ")
    assert "MemoryHigh" in lines[0]
    assert lines[1].index("MemoryHihg") == lines[2].index("^")
    quota = next(index for index, line in enumerate(lines) if line.startswith(f"{path}:5:"))
    assert lines[quota + 1].index('"much"') == lines[quota + 2].index("^")
    assert lines[-1] == "2 problems in 1 file"


def test_check_json_has_file_line_column_message(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    assert main(["check", "--json", str(tmp_path)]) == Exit.FAILURE
    first, second = json.loads(capsys.readouterr().out)
    assert (first["file"], first["line"], first["column"]) == (str(path), 4, 1)
    assert second["line"] == 5
    assert first["message"]


def test_check_names_files_that_cannot_be_read(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[match]\nname = '\xff'\n")
    os.mkfifo(tmp_path / "pipe.toml")
    paths = [str(tmp_path / name) for name in ("latin.toml", "pipe.toml", "none.toml")]
    assert main(["check", *paths]) == Exit.FAILURE
    text = capsys.readouterr().out
    assert f"{paths[0]}:2:1: is not UTF-8 text" in text
    assert f"{paths[1]}:1:1: is not a regular file" in text
    assert f"{paths[2]}:1:1: cannot be read: No such file or directory" in text


def test_check_knows_settings_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "governor.toml").write_text('[governor]\nmode = "observe"\n')
    assert main(["check", str(tmp_path / "governor.toml")]) == Exit.OK
    (tmp_path / "other.toml").write_text('[governor]\nmode = "observe"\n')
    assert main(["check", str(tmp_path / "other.toml")]) == Exit.FAILURE


def test_schema_is_json(capsys: Capture) -> None:
    assert main(["schema"]) == Exit.OK
    assert "MemoryHigh" in json.loads(capsys.readouterr().out)["properties"]["limits"]["properties"]
    assert main(["schema", "governor"]) == Exit.OK
    assert "governor" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_parse(shell: str, tmp_path: Path) -> None:
    text = script(shell)
    for command in COMMANDS:
        assert command in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script is made but not parsed")
    path = tmp_path / "script"
    path.write_text(text)
    subprocess.run([shell, "-n", path], check=True, timeout=20)


def test_bash_completes_and_offers_no_name_that_could_be_run(tmp_path: Path) -> None:
    """A container called $(touch …) must neither be run nor offered."""
    fake = tmp_path / "governorctl"
    fake.write_text(f"#!/bin/sh\nprintf '%s\\n' web-1 '$(touch {tmp_path}/run)' 'a b' web-2\n")
    fake.chmod(0o755)
    (tmp_path / "script").write_text(script("bash"))
    assert _completed(tmp_path, "governorctl", "sho") == ["show"]
    assert _completed(tmp_path, "governorctl", "show", "") == ["-h", "--help", "--json", "web-1", "web-2"]
    assert _completed(tmp_path, "governorctl", "set", "web-1", "MemoryH") == ["MemoryHigh="]
    assert not (tmp_path / "run").exists()


def _completed(directory: Path, *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {directory}/script; compopt() {{ :; }}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        '_governorctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=20)
    return done.stdout.splitlines()


@pytest.mark.usefixtures("system_bus")
def test_doctor_without_a_daemon_tells_what_it_can(capsys: Capture) -> None:
    assert main(["doctor"]) == Exit.NOT_RUNNING
    captured = capsys.readouterr()
    assert "cgroup-v2" in captured.out
    assert "the daemon did not answer" in captured.err
