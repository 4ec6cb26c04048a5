"""units/ and the manual, as their own readers see them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from governor.cli.parser import each_command
from governor.model.directives import BY_NAME

TOP = Path(__file__).parents[2]
UNITS = TOP / "units"
MAN = TOP / "packaging/man"
SERVICE = UNITS / "governor.service"
MAX_EXPOSURE = 4.0


def _needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: nothing was checked")


def _lines(key: str) -> list[str]:
    return [line.partition("=")[2] for line in SERVICE.read_text().splitlines() if line.startswith(f"{key}=")]


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    _needs("systemd-analyze")
    unit = tmp_path / "governor.service"
    unit.write_text(re.sub(r"^(Exec\w+)=.*$", r"\1=/bin/true", SERVICE.read_text(), flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if "governor" in line]
    assert [line for line in said if "Failed to parse service type, ignoring: notify-reload" not in line] == []
    assert done.returncode == 0


def test_an_older_systemd_keeps_the_type_that_it_knows(tmp_path: Path) -> None:
    """An unknown Type= is ignored, which keeps the line before; what is refused with oneshot shows which one counts."""
    _needs("systemd-analyze")
    assert _lines("Type") == ["notify", "notify-reload"]
    unit = tmp_path / "probe.service"
    unit.write_text("[Service]\nType=oneshot\nType=no-such-type\nRestart=always\nExecStart=/bin/true\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=60
    )
    assert "isn't allowed for Type=oneshot" in done.stderr


def test_the_unit_is_hardened() -> None:
    _needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", SERVICE],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for governor\.service: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MAX_EXPOSURE


def test_the_unit_allows_what_the_daemon_lives_on() -> None:
    """Each of these would pass systemd's own check and break the daemon: see the comments in the unit."""
    text = SERVICE.read_text()
    for forbidden in ("ProtectControlGroups=yes", "ProtectHome=yes", "RestrictSUIDSGID=yes", "PrivateNetwork=yes"):
        assert f"\n{forbidden}" not in text
    assert _lines("RuntimeDirectoryPreserve") == ["yes"]
    assert _lines("ExecStopPost") == ["/usr/bin/python3 -I -m governor.service.stop_post"]
    assert _lines("ExecReload") == ["/usr/bin/python3 -I -m governor.service.reload_wait"]
    assert _lines("Restart") == ["on-failure"]


def test_the_bus_policy_lets_only_root_own_the_name() -> None:
    tree = ET.parse(UNITS / "org.governor1.conf").getroot()
    owners = {p.get("user"): [a.get("own") for a in p if a.get("own")] for p in tree.findall("policy")}
    assert owners == {"root": ["org.governor1"], None: []}
    default = tree.find("policy[@context='default']")
    assert default is not None
    assert {rule.get("send_destination") for rule in default} == {"org.governor1"}
    assert "org.governor1.Manager" in {rule.get("send_interface") for rule in default}


def test_the_polkit_actions_ask_an_administrator() -> None:
    tree = ET.parse(UNITS / "org.governor1.policy").getroot()
    actions = {action.get("id"): action for action in tree.findall("action")}
    assert set(actions) == {
        f"org.governor1.{name}" for name in ("reload", "set-limits", "release", "set-mode", "read-details")
    }
    for action in actions.values():
        defaults = [rule.text for rule in action.findall("defaults/*")]
        assert defaults == ["auth_admin", "auth_admin", "auth_admin_keep"]


def test_the_xml_is_well_formed() -> None:
    _needs("xmllint")
    files = [UNITS / "org.governor1.conf", UNITS / "org.governor1.policy"]
    subprocess.run(["xmllint", "--nonet", "--noout", *files], check=True, timeout=60)


@pytest.fixture(scope="module")
def governorctl_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _needs("argparse-manpage")
    page = tmp_path_factory.mktemp("man") / "governorctl.1"
    subprocess.run([TOP / "packaging/build-man", page], check=True, timeout=60)
    return page


def test_the_manual_has_every_command(governorctl_page: Path) -> None:
    text = governorctl_page.read_text().replace("\\-", "-")
    each_command(lambda name, _parser: _assert_in(f"governorctl {name}", text))
    assert "--property" in text
    assert "governorctl - see and steer" in text


def test_the_manual_names_every_directive() -> None:
    text = (MAN / "governor-policy.5").read_text()
    for name in BY_NAME:
        _assert_in(name.removeprefix("Startup"), text)


def _assert_in(part: str, text: str) -> None:
    assert part in text


def test_the_manual_renders_without_a_warning(governorctl_page: Path) -> None:
    _needs("groff")
    for page in (governorctl_page, *sorted(MAN.iterdir())):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-z", page], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), page


def test_what_the_unit_starts_exists() -> None:
    modules = [line.split()[-1] for key in ("ExecReload", "ExecStopPost") for line in _lines(key)]
    assert modules
    for module in modules:
        assert (TOP / (module.replace(".", "/") + ".py")).is_file()
