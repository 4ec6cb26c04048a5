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

from governor.controllers import BY_NAME as CONTROLLERS
from governor.model.container import Container, Pod
from governor.model.directives import BY_NAME
from governor.model.errors import PolicyError
from governor.model.policy import HostSettings, Mode, Policy
from governor.policy import reference, schema
from governor.policy.keys import POLICY, policy_table
from governor.policy.load import load
from governor.policy.merge import merge
from governor.policy.parse import parse_policy, parse_settings
from tests.policy import pulse
from tests.policy.pulse import Pulse, Quiet, Swap

if TYPE_CHECKING:
    from governor.policy.load import Directories

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(file for file in (ROOT / "policies").glob("*.toml") if file.name != "governor.toml")
HOST = ROOT / "policies" / "governor.toml"
MANUAL = (ROOT / "packaging" / "man" / "governor-policy.5").read_text(encoding="utf-8").replace("\\-", "-")
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
    assert sample(file).limits or sample(file).controls
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
    assert set(data["governor"]) == {"mode", "interval", "resync", "protected", "actions_per_minute", "kubernetes"}
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
        {"match": {"name": "a"}, "control": {"no-such": {}}},
        {"match": {"name": "a"}, "probe": {}},
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


BEATS = {"beats": 3, "target": "5%", "room": "64M", "every": 5, "loud": True, "tone": "high", "min": {"CPUQuota": "5%"}}


@pytest.mark.parametrize("keys", [{}, BEATS, {"target": 0.5}, {"room": 1 << 20}, {"lease": "1min"}, {"max": {}}])
def test_the_schema_takes_what_a_controller_takes(keys: dict[str, Any]) -> None:
    found = jsonschema.Draft202012Validator(schema.schema(policy_table(pulse.CONTROLLERS)))
    found.check_schema(found.schema)
    found.validate({"match": {"name": "a"}, "control": {"pulse": keys, "quiet": {}}})


@pytest.mark.parametrize(
    "keys",
    [
        {"beatz": 3},
        {"beats": "3"},
        {"beats": 0},
        {"beats": 11},
        {"target": 0.51},
        {"target": 0.001},
        {"target": True},
        {"room": (1 << 20) - 1},
        {"every": 1.5},
        {"loud": 1},
        {"tone": "hihg"},
        {"min": {"TasksMax": 5}},
        {"min": {"CPUQuota": 5}},
        {"max": 3},
    ],
)
def test_the_schema_refuses_what_a_controller_does_not_take(keys: dict[str, Any]) -> None:
    found = jsonschema.Draft202012Validator(schema.schema(policy_table(pulse.CONTROLLERS)))
    assert not found.is_valid({"match": {"name": "a"}, "control": {"pulse": keys}})
    assert not found.is_valid({"match": {"name": "a"}, "control": {"quiet": {"min": {}}}})


def test_the_schema_tells_defaults_as_they_are_written() -> None:
    tables = schema.schema(policy_table(pulse.CONTROLLERS))["properties"]["control"]["properties"]
    defaults = {name: key["default"] for name, key in tables["pulse"]["properties"].items() if "default" in key}
    assert defaults == {
        "cooldown": "1min",
        "lease": "5min",
        "target": 0.05,
        "release": 0.02,
        "every": "2s",
        "room": "64M",
        "beats": 3,
        "loud": False,
        "tone": "low",
    }


def test_the_schema_knows_every_directive() -> None:
    assert set(schema.schema(POLICY)["properties"]["limits"]["properties"]) == set(BY_NAME)


def test_the_references_tables_are_current() -> None:
    assert reference.updated(PAGE) == PAGE, "run: python -m governor.policy.reference docs/policies.md"
    assert all(f"| `{name}` |" in PAGE for name in BY_NAME)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_controller_is_in_the_reference_the_manual_and_a_sample(name: str) -> None:
    assert f"### `[control.{name}]`" in PAGE
    assert name in MANUAL
    assert any(name in sample(file).controls for file in SAMPLES)


def test_a_controllers_section_says_its_directives_and_what_is_its_own() -> None:
    sections = reference.controllers([Pulse, Quiet, Swap]).split("\n### ")
    assert sections[0].split("\n")[:7] == [
        "### `[control.pulse]`",
        "",
        "Beats. Its directives: `CPUQuota`, `MemoryHigh`, `IOReadBandwidthMax`.",
        "",
        "| Key | What it is | It takes | Default | For example |",
        "|---|---|---|---|---|",
        '| `target` | Aimed at | a ratio (a number or a percentage) of 0.01 to 0.5 | `0.05` | `target = "5%"` |',
    ]
    assert '| `tone` | How it sounds | "low" or "high" | `"low"` | `tone = "low"` |' in sections[0]
    assert all(f"| `{name}` |" not in sections[0] for name in ("min", "max", "cooldown", "lease"))
    assert sections[1] == "`[control.quiet]`\n\nMoves nothing. Its directives: none.\n"
    *_, ceiling, lease, end = sections[2].split("\n")
    assert ceiling == '| `max` | Ceiling | its directives | none | `max = { MemoryZSwapMax = "1M" }` |'
    assert lease.startswith("| `lease` | How long a decision lasts")
    assert lease.endswith('| a time span of 1s to 1d | `"9s"` | `lease = "5min"` |')
    assert end == ""


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
