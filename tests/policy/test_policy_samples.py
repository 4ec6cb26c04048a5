"""The samples in policies/, their schema and the reference: all current, all true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import tomli

from governor.model.container import Container, Pod
from governor.model.directives import BY_NAME
from governor.model.errors import PolicyError
from governor.model.policy import HostSettings, Mode, Policy
from governor.policy import reference, schema
from governor.policy.keys import POLICY
from governor.policy.load import load
from governor.policy.merge import merge
from governor.policy.parse import parse_policy, parse_settings

if TYPE_CHECKING:
    from governor.policy.load import Directories

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(file for file in (ROOT / "policies").glob("*.toml") if file.name != "governor.toml")
HOST = ROOT / "policies" / "governor.toml"
PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


def sample(file: Path) -> Policy:
    return parse_policy(file.read_text(encoding="utf-8"), name=file.stem, file=file.name, default_mode=Mode.ENFORCE)


def validator(name: str) -> Any:
    found = json.loads((ROOT / "policies" / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_a_sample_is_a_good_policy_that_says_what_it_is_for(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert sample(file).limits
    assert text.startswith("#:schema ./policy.schema.json\n# ")
    validator("policy").validate(tomli.loads(text))


def test_there_is_a_generous_set() -> None:
    assert len(SAMPLES) >= 15


def meant(policy: Policy) -> Container:
    """Return a container that the policy is for: the first pattern of each key, its stars filled in."""
    match = policy.match
    pod = {key: first(patterns) for key, patterns in match.kubernetes.items()}
    return Container(
        runtime=first(match.runtime) or ("systemd" if match.unit else "docker"),
        namespace="",
        id="f" * 64,
        name=first(match.name),
        image=first(match.image),
        unit=first(match.unit),
        user=1001 if match.user else None,
        labels={label: first(patterns) for label, patterns in match.labels.items()},
        cgroup="/x",
        inode=1,
        pod=Pod(uid="u", qos=pod.get("qos", "burstable"), namespace=pod.get("namespace", "")) if pod else None,
    )


def first(patterns: tuple[str, ...]) -> str:
    return patterns[0].replace("*", "x") if patterns else ""


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_all_samples_together_do_not_conflict(file: Path) -> None:
    policies = [sample(other) for other in SAMPLES]
    found = merge(policies, meant(sample(file)), host_mode=Mode.ENFORCE, previous={})
    assert file.stem in found.policies
    assert found.problems == ()
    assert found.settings


def test_all_samples_load_from_a_directory(directories: Directories) -> None:
    target = directories.root / "etc" / "governor" / "policies.d"
    target.mkdir(parents=True, mode=0o755)
    for file in SAMPLES:
        shutil.copyfile(file, target / file.name)
        (target / file.name).chmod(0o644)
    assert [policy.name for policy in load(directories).policies] == [file.stem for file in SAMPLES]


def test_the_hosts_sample_holds_the_defaults() -> None:
    text = HOST.read_text(encoding="utf-8")
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert parse_settings(text, file="governor.toml") == HostSettings()
    assert parse_settings(uncommented, file="governor.toml") == HostSettings()
    data = tomli.loads(uncommented)
    assert set(data["governor"]) == {"mode", "interval", "resync", "protected", "kubernetes"}
    validator("governor").validate(tomli.loads(text))


@pytest.mark.parametrize("name", ["policy", "governor"])
def test_a_schema_is_current(name: str) -> None:
    current = (ROOT / "policies" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert current == schema.text(name), f"run: python -m governor.policy.schema {name} > policies/{name}.schema.json"


def test_the_schema_is_what_its_command_prints() -> None:
    command = [sys.executable, "-m", "governor.policy.schema"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    assert printed == schema.text("policy")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"match": {}},
        {"match": {"nmae": "a"}},
        {"match": {"name": ""}},
        {"match": {"name": []}},
        {"match": {"name": "a"}, "limits": {"CPUWieght": 1}},
        {"match": {"name": "a"}, "limits": {"CPUWeight": 1.5}},
        {"match": {"name": "a"}, "limits": {"CPUQuota": 150}},
        {"match": {"name": "a"}, "policy": {"mode": "enforced"}},
        {"match": {"name": "a"}, "control": {}},
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(data: dict[str, Any]) -> None:
    text = "\n".join(
        [f"[{table}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
         for table, keys in data.items()]
    )  # fmt: skip
    with pytest.raises(PolicyError):
        parse_policy(text, name="a", file="a", default_mode=Mode.ENFORCE)
    assert not validator("policy").is_valid(data)


def test_the_schema_knows_every_directive() -> None:
    assert set(schema.schema(POLICY)["properties"]["limits"]["properties"]) == set(BY_NAME)


def test_the_references_tables_are_current() -> None:
    assert reference.updated(PAGE) == PAGE, "run: python -m governor.policy.reference docs/policies.md"
    assert all(f"| `{name}` |" in PAGE for name in BY_NAME)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_errors_in_the_reference_are_real() -> None:
    (bad,) = [block for block in blocks("toml") if "CPUWieght" in block]
    with pytest.raises(PolicyError) as caught:
        parse_policy(bad, name="50-web", file="/etc/governor/policies.d/50-web.toml", default_mode=Mode.ENFORCE)
    assert str(caught.value) + "\n" in blocks("text")


def test_the_policies_in_the_reference_are_good() -> None:
    good = [block for block in blocks("toml") if "[match]" in block and "CPUWieght" not in block]
    for block in good:
        assert parse_policy(block, name="a", file="a", default_mode=Mode.ENFORCE)
    assert len(good) >= 2
