"""The packages: what is in them, what their scripts do, and what the distributions' own checkers say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from governor import __version__

TOP = Path(__file__).parents[2]
DEBIAN = TOP / "packaging/debian"
pytestmark = pytest.mark.timeout(600)

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg: the .deb cannot be built here")
needs_rpm = pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="no rpmbuild: the .rpm cannot be built here")

SHIPPED = (
    "etc/governor/governor.toml",
    "etc/governor/policies.d/",
    "usr/bin/governorctl",
    "usr/sbin/governord",
    "usr/lib/python3/dist-packages/governor/service/stop_post.py",
    "usr/lib/systemd/catalog/governor.catalog",
    "usr/lib/systemd/system/governor.service",
    "usr/share/bash-completion/completions/governorctl",
    "usr/share/dbus-1/system.d/org.governor1.conf",
    "usr/share/doc/governor/examples/10-web-service.toml",
    "usr/share/fish/vendor_completions.d/governorctl.fish",
    "usr/share/governor/policy.schema.json",
    "usr/share/man/man1/governorctl.1.gz",
    "usr/share/man/man5/governor-policy.5.gz",
    "usr/share/man/man5/governor.toml.5.gz",
    "usr/share/man/man8/governor.service.8.gz",
    "usr/share/man/man8/governord.8.gz",
    "usr/share/polkit-1/actions/org.governor1.policy",
    "usr/share/zsh/vendor-completions/_governorctl",
)


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.fixture(scope="session")
def scripts(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's control files."""
    directory = tmp_path_factory.mktemp("control")
    subprocess.run(["dpkg-deb", "--control", deb, directory], check=True)
    return directory


@needs_dpkg
def test_the_deb_ships_what_a_host_needs(deb: Path) -> None:
    listed = _output("dpkg-deb", "--contents", deb)
    names = {line.split(maxsplit=5)[5].split(" -> ")[0].removeprefix("./") for line in listed.splitlines()}
    assert [name for name in SHIPPED if name not in names] == []
    assert all("root/root" in line for line in listed.splitlines())


@needs_dpkg
def test_the_deb_ships_nothing_that_acts_by_itself(deb: Path) -> None:
    """No policy is in force and nothing starts a stopped daemon because somebody asks for its name."""
    listed = _output("dpkg-deb", "--contents", deb)
    for absent in ("system-services", "usr/lib/governor/policies.d", "tests/", "__pycache__", "policies.d/0"):
        assert absent not in listed


@needs_dpkg
def test_the_deb_installs_on_debian_12_and_13(deb: Path) -> None:
    depends = _output("dpkg-deb", "--field", deb, "Depends")
    for package in ("python3-dbus-next | python3-dbus-fast", "python3-pystemd", "python3-tomli", "python3-sdnotify"):
        assert package in depends
    assert "python3 (<<" not in depends
    assert _output("dpkg-deb", "--field", deb, "Architecture").strip() == "all"


@needs_dpkg
def test_settings_are_conffiles(scripts: Path) -> None:
    assert (scripts / "conffiles").read_text().split() == ["/etc/governor/governor.toml"]


@needs_dpkg
def test_the_maintainer_scripts_parse_and_an_upgrade_does_not_stop_the_daemon(scripts: Path) -> None:
    for name in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", scripts / name], check=True)
    prerm = (scripts / "prerm").read_text()
    for line in re.findall(r"^if .*$", prerm, re.MULTILINE):
        assert '"$1" = remove' in line or "py3clean" in line
    assert "stop_post --restore" in prerm
    assert prerm.index("stop_post --restore") < prerm.index("py3clean -p")
    postinst = (scripts / "postinst").read_text()
    assert "_dh_action=restart" in postinst
    assert postinst.index("ReloadConfig") < postinst.index("deb-systemd-invoke")


@needs_dpkg
def test_lintian_finds_no_error(deb: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed: the package was built but not checked")
    done = subprocess.run(
        ["lintian", "--fail-on", "error", "--allow-root", deb], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout


@needs_dpkg
def test_the_settings_that_are_shipped_are_right(deb: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    settings = tmp_path / "etc/governor/governor.toml"
    assert settings.read_text().startswith("#:schema /usr/share/governor/governor.schema.json\n")
    environment = {"PYTHONPATH": str(tmp_path / "usr/lib/python3/dist-packages"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["python3", str(tmp_path / "usr/bin/governorctl"), "check", str(settings)]
    done = subprocess.run(command, env={**environment, "PATH": _path()}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _path() -> str:
    """Return a PATH whose python3 has the packages that this test run has."""
    import sys  # noqa: PLC0415 - only here

    return f"{Path(sys.executable).parent}:/usr/bin:/bin"


@needs_rpm
def test_the_rpm_is_built_from_its_spec(rpm: Path) -> None:
    _output("rpmspec", "--parse", TOP / "packaging/governor.spec")
    names = _output("rpm", "--query", "--package", "--list", rpm).split()
    for name in SHIPPED:
        if "/dist-packages/" not in name and "/zsh/" not in name and "/doc/" not in name and not name.endswith(".gz"):
            assert f"/{name}".rstrip("/") in names
    assert any(name.endswith("/governor/service/stop_post.py") for name in names)
    assert not [name for name in names if "direct_url" in name or "__pycache__" in name]
    scripts = _output("rpm", "--query", "--package", "--scripts", rpm)
    assert "stop_post --restore" in scripts


def test_every_place_has_the_same_version() -> None:
    changelog = (DEBIAN / "changelog").read_text()
    spec = (TOP / "packaging/governor.spec").read_text()
    assert changelog.startswith(f"governor ({__version__})")
    assert re.search(rf"^Version:\s+{re.escape(__version__)}$", spec, re.MULTILINE)


def test_the_licence_is_the_lgpl() -> None:
    text = (TOP / "LICENSE").read_text()
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in text
    assert "Version 2.1, February 1999" in text


def test_packaging_scripts_parse() -> None:
    for name in ("build-deb", "build-rpm", "build-man"):
        subprocess.run(["sh", "-n", TOP / "packaging" / name], check=True)
