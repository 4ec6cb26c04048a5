"""The last good set: kept as text, used on a bad file, never half written."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pytest

from governor.model.errors import PolicyError, Unsupported
from governor.model.policy import Mode
from governor.policy.controls import built
from governor.policy.last_good import load_last_good, load_or_last_good, save_last_good
from governor.policy.load import PolicySet, load
from governor.policy.parse import parse_policy
from tests.policy.pulse import CONTROLLERS, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from governor.policy.load import Directories

Write: TypeAlias = "Callable[..., Path]"

GOOD = '[match]\nname = "a"\n[limits]\nCPUWeight = 5\n'
BAD = '[match]\nnmae = "a"\n'


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "last-good.json"


def test_what_was_kept_is_read_again_as_it_was(directories: Directories, write: Write, kept: Path) -> None:
    write("etc", "a.toml", GOOD)
    write("usr/lib", "b.toml", GOOD)
    write("etc", "../governor.toml", '[governor]\nmode = "observe"\n')
    found = load(directories)
    save_last_good(found, kept)
    assert load_last_good(kept, directories.uid) == found
    assert found.settings.mode is Mode.OBSERVE
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list(kept.parent.glob(".*")) == []


def test_nothing_kept_is_nothing(directories: Directories, kept: Path) -> None:
    assert load_last_good(kept, directories.uid) is None


def test_a_bad_file_leaves_the_last_good_set_and_says_why(directories: Directories, write: Write, kept: Path) -> None:
    write("etc", "a.toml", GOOD)
    good, problems = load_or_last_good(directories, kept)
    assert problems == ()
    save_last_good(good, kept)
    write("etc", "a.toml", BAD)
    found, problems = load_or_last_good(directories, kept)
    assert found == good
    assert 'did you mean "name"?' in problems[0].message


def test_a_bad_file_and_nothing_kept_governs_nothing(directories: Directories, write: Write, kept: Path) -> None:
    write("etc", "a.toml", BAD)
    found, problems = load_or_last_good(directories, kept)
    assert found == PolicySet()
    assert problems


def test_without_a_kept_set_the_hosts_settings_still_hold(directories: Directories, write: Write, kept: Path) -> None:
    write("etc", "a.toml", BAD)
    write("etc", "../governor.toml", '[governor]\nprotected = "vpn.service"\n')
    assert load_or_last_good(directories, kept)[0].settings.protected == ("vpn.service",)
    write("etc", "../governor.toml", "[governor]\nprotected = 3\n")
    found, problems = load_or_last_good(directories, kept)
    assert found.settings.mode is Mode.OBSERVE
    assert len(problems) == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '{"version": 2}',
        '{"version": 1, "policies": [3], "settings": null}',
        '{"version": 1, "policies": [{"name": 1, "file": "a", "mode": "enforce", "text": ""}], "settings": null}',
        '{"version": 1, "policies": [{"name": "a", "file": "a", "mode": "x", "text": ""}], "settings": null}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_refused_and_told(directories: Directories, write: Write, kept: Path, content: str) -> None:
    write("etc", "a.toml", BAD)
    kept.write_text(content, encoding="utf-8")
    kept.chmod(0o600)
    with pytest.raises(PolicyError):
        load_last_good(kept, directories.uid)
    found, problems = load_or_last_good(directories, kept)
    assert found == PolicySet()
    assert [problem.position.file for problem in problems][-1] == str(kept)


def test_a_kept_policy_that_is_refused_by_now_is_told(directories: Directories, write: Write, kept: Path) -> None:
    write("etc", "a.toml", GOOD)
    save_last_good(load(directories), kept)
    document = json.loads(kept.read_text(encoding="utf-8"))
    document["policies"][0]["text"] = BAD
    kept.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(PolicyError, match="nmae"):
        load_last_good(kept, directories.uid)


def test_a_kept_file_that_others_could_write_is_refused(directories: Directories, kept: Path) -> None:
    save_last_good(PolicySet(), kept)
    kept.chmod(0o666)
    with pytest.raises(PolicyError, match="written by others"):
        load_last_good(kept, directories.uid)


def test_where_it_cannot_be_kept_the_old_file_stays(directories: Directories, write: Write, kept: Path) -> None:
    save_last_good(PolicySet(), kept)
    (kept.parent / f".{kept.name}.new").mkdir()
    write("etc", "a.toml", GOOD)
    with pytest.raises(Unsupported, match="cannot be kept"):
        save_last_good(load(directories), kept)
    assert load_last_good(kept, directories.uid) == PolicySet()
    with pytest.raises(Unsupported):
        save_last_good(PolicySet(), kept / "below-a-file")


def test_a_link_put_in_its_way_is_not_followed(kept: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched", encoding="utf-8")
    (kept.parent / f".{kept.name}.new").symlink_to(victim)
    save_last_good(PolicySet(), kept)
    assert victim.read_text(encoding="utf-8") == "untouched"


def test_controls_are_kept_with_the_rest(
    directories: Directories, write: Write, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("governor.policy.load.parse_policy", partial(parse_policy, controllers=CONTROLLERS))
    file = write("etc", "a.toml", '[match]\nname = "a"\n[control.pulse]\nbeats = 7\nmin.CPUQuota = "50%"\n')
    save_last_good(load(directories), kept)
    file.write_text(BAD, encoding="utf-8")
    found, problems = load_or_last_good(directories, kept)
    assert problems
    (policy,) = found.policies
    table = policy.controls["pulse"]
    assert built(table.kind, table.values) == Pulse(beats=7, min={"CPUQuotaPerSecUSec": 500_000})
    assert dict(policy.limits) == {}


def test_a_kept_controller_that_is_gone_by_now_is_told(directories: Directories, write: Write, kept: Path) -> None:
    write("etc", "a.toml", GOOD)
    save_last_good(load(directories), kept)
    document = json.loads(kept.read_text(encoding="utf-8"))
    document["policies"][0]["text"] = GOOD + "[control.pulse]\n"
    kept.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(PolicyError, match="unknown controller"):
        load_last_good(kept, directories.uid)
