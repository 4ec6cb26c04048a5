"""The page and the command: both are the table, and the page is current."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from governor.cli.exits import Exit
from governor.cli.main import main
from governor.model.signal import SIGNALS
from governor.sensors import reference

Capture = pytest.CaptureFixture[str]
PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "make it anew: python -m governor.sensors.reference"


def test_the_page_is_made_by_its_command(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "governor.sensors.reference", str(tmp_path / "page")], check=True)
    assert (tmp_path / "page").read_text(encoding="utf-8") == reference.page()


def test_every_signal_is_listed_with_unit_and_meaning(capsys: Capture) -> None:
    assert main(["signals"]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(SIGNALS)
    for line, signal in zip(lines[1:], SIGNALS.values(), strict=True):
        assert line.split()[0].removesuffix("[@DEVICE]") == signal.name
        assert line.endswith(signal.help)


def test_signals_as_json(capsys: Capture) -> None:
    assert main(["signals", "--json"]) == Exit.OK
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == SIGNALS.keys()
    assert rows["io.wait"] == {
        "name": "io.wait",
        "unit": "ratio",
        "meaning": SIGNALS["io.wait"].help,
        "per_device": True,
    }
