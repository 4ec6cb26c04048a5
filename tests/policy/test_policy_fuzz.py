"""Generated policy files: whatever they say, there is a policy or a PolicyError with places inside the file.

GOVERNOR_FUZZ is the number of examples of each test; `make test-long` raises it.
"""

from __future__ import annotations

import json
import os
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from governor.controllers import BY_NAME as CONTROLLERS
from governor.model.container import Container
from governor.model.control import KeyInfo, Takes, keys_of
from governor.model.directives import BY_NAME, BY_PROPERTY, Kind
from governor.model.errors import PolicyError, Problem
from governor.model.policy import Mode, Policy
from governor.model.values import USEC_PER_SEC
from governor.policy.kinds import SPELLINGS
from governor.policy.merge import merge
from governor.policy.parse import parse_policy, parse_settings
from tests.policy import pulse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.model.control import Controller

EXAMPLES = int(os.environ.get("GOVERNOR_FUZZ", "2000"))
# Half of the examples each: arbitrary text mostly fails in the TOML parser, structured text gets past it.
FUZZ = settings(max_examples=max(EXAMPLES // 2, 1), deadline=2000, suppress_health_check=list(HealthCheck))

KINDS = {**CONTROLLERS, **pulse.CONTROLLERS}
WEB = Container(runtime="docker", namespace="", id="f" * 64, name="a", cgroup="/x", inode=7)

pytestmark = pytest.mark.timeout(max(120, EXAMPLES // 10))


def outcome(text: str) -> Policy | tuple[Problem, ...]:
    """Return the policy or the problems of `text`; any other exception is the test's failure."""
    try:
        return parse_policy(text, name="fuzz", file="fuzz.toml", default_mode=Mode.ENFORCE, controllers=KINDS)
    except PolicyError as error:
        found = error.problems
    assert found
    return found


def assert_inside(problems: tuple[Problem, ...], text: str) -> None:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    for problem in problems:
        assert 1 <= problem.position.line <= len(lines)
        line = lines[problem.position.line - 1]
        assert 1 <= problem.position.column <= len(line) + 1
        assert 1 <= problem.width <= max(len(line), 1)
        assert "\x1b" not in problem.render()
        assert "\n" not in problem.message


def check(text: str) -> None:
    found = outcome(text)
    assert outcome(text) == found
    if isinstance(found, tuple):
        assert_inside(found, text)
    else:
        lines = text.replace("\r\n", "\n").split("\n")
        places = [limit.position for limit in found.limits.values()]
        for table in found.controls.values():
            places += [table.position, *(one.position for one in table.values.values())]
        assert all(1 <= place.line <= len(lines) for place in places)
    try:
        parse_settings(text, file="fuzz.toml")
    except PolicyError as error:
        assert_inside(error.problems, text)


PIECES = st.sampled_from(
    ["[match]", "[limits]", "[policy]", "[control.pulse]", "[control", "min", "target",
     "name", "CPUQuota", "mode", "=", '"', "'", '"""', "[", "]", "{", "}", ",", ".",
     "#", "\n", "\r\n", " ", "\t", "\\", "\\u0000", "1", "-", "e", "_", "150%", "[[", "]]", "true", "\x00", "\x1b",
     "\ufeff", "é", "\u2028", "1979-05-27"]
)  # fmt: skip


@FUZZ
@example("\ufeff")
@example("\r")
@example("a." * 2000 + "b = 1")
@example("a = " + "9" * 5000)
@example("[match]\nname = '\udc80'")
@given(st.text(max_size=200) | st.lists(PIECES, max_size=40).map("".join))
def test_arbitrary_text_gives_a_policy_or_problems(text: str) -> None:
    check(text)


@settings(FUZZ, max_examples=max(EXAMPLES // 10, 1))
@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_policy_or_problems(content: bytes) -> None:
    check(content.decode(errors="surrogateescape"))


SCALARS = (
    st.integers(-5, 20_000)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["150%", "1.5%", "512M", "infinity", "idle", "20ms", "/var 20M", "any", "10.0.0.0/8", "0-3", "*"])
    | st.sampled_from([spelling.example for spelling in SPELLINGS.values()])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
MATCH_KEYS = st.sampled_from(["runtime", "name", "image", "unit", "slice", "user", "labels", "kubernetes", "nmae"])
KEYS = sorted({name for kind in KINDS.values() for name in keys_of(kind)})
CONTROL = st.dictionaries(
    st.sampled_from([*KINDS, "puls"]),
    st.dictionaries(st.sampled_from([*KEYS, "CPUQuota"]), VALUES, max_size=5) | VALUES,
    max_size=3,
)
DIRECTIVES = st.sampled_from(sorted(BY_NAME)) | st.sampled_from(["CPUWieght", "MemoryHihg", "x"])
TABLES = st.fixed_dictionaries(
    {"match": st.dictionaries(MATCH_KEYS, VALUES, max_size=3) | VALUES},
    optional={
        "limits": st.dictionaries(DIRECTIVES, VALUES, max_size=6) | VALUES,
        "policy": st.dictionaries(st.sampled_from(["mode", "name"]), VALUES, max_size=2) | VALUES,
        "governor": st.dictionaries(
            st.sampled_from(["interval", "protected", "kubernetes", "actions_per_minute"]), VALUES
        )
        | VALUES,
        "control": CONTROL | VALUES,
    },
)


def toml(value: Any) -> str:
    """Return a value in TOML; JSON's strings, numbers and booleans are TOML's too, but for one escape."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def document(tables: dict[str, Any], newline: str) -> str:
    lines = []
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{json.dumps(key)} = {toml(value)}" for key, value in table.items())]
        else:
            lines.insert(0, f"{name} = {toml(table)}")
    return newline.join(lines) + newline


@FUZZ
@given(TABLES, st.sampled_from(["\n", "\r\n"]))
def test_structured_but_wrong_files_give_a_policy_or_problems(tables: dict[str, Any], newline: str) -> None:
    check(document(tables, newline))


LIMITS = st.dictionaries(st.sampled_from(sorted(BY_NAME)), st.none(), min_size=1, max_size=5)


@settings(FUZZ, max_examples=max(EXAMPLES // 10, 1))
@given(LIMITS, st.sampled_from(["\n", "\r\n"]))
def test_what_the_examples_say_is_taken(names: dict[str, None], newline: str) -> None:
    examples = {name: SPELLINGS[BY_NAME[name].kind].example for name in names} | {"CPUQuota": "150%"}
    one_sided = {name: value for name, value in examples.items() if not name.endswith("Deny")}
    found = outcome(document({"match": {"name": "a"}, "limits": one_sided}, newline))
    assert isinstance(found, Policy)
    assert set(found.limits) == {BY_NAME[name].property for name in one_sided}


TEXTS: dict[Takes, list[Any]] = {
    Takes.RATIO: ["5%", "0.1%", "150%", 0],
    Takes.TIMESPAN: ["1s", "20ms", "5min", "1d", "infinity"],
    Takes.BYTES: ["1M", "64M", "2G", "50%"],
    Takes.COUNT: [-1, 2.0],
    Takes.BOOLEAN: [True, False, "no"],
}
ENDS = {Kind.CPU_PERCENT: ["20%", "50%", "400%", "infinity"], Kind.BYTES: ["1M", "64M", "2G", "50%", "infinity"]}


def directives(names: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return tables of these directives with values that are right, each by itself."""
    ends = {name: ENDS.get(BY_NAME[name].kind, [SPELLINGS[BY_NAME[name].kind].example]) for name in names}
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in ends.items()})


def key_values(kind: type[Controller], info: KeyInfo) -> st.SearchStrategy[Any]:
    """Return values that the key takes more often than not."""
    if info.takes is Takes.LIMITS:
        return directives(BY_PROPERTY[name].name for name in kind.properties)
    if info.takes is Takes.CHOICE:
        return st.sampled_from(info.choices)
    scale = USEC_PER_SEC if info.takes is Takes.TIMESPAN else 1
    low, high = (info.low or 0) / scale, (1000.0 if info.high is None else info.high) / scale
    texts = st.sampled_from(TEXTS[info.takes])
    if info.takes is Takes.RATIO:
        return st.floats(low, high) | texts
    return texts if info.takes is Takes.BOOLEAN else st.integers(ceil(low), max(ceil(low), int(high))) | texts


def control_tables(kind: type[Controller]) -> st.SearchStrategy[dict[str, Any]]:
    """Return tables of one controller with a few of its keys."""
    keys = keys_of(kind)
    return st.lists(st.sampled_from(sorted(keys)), unique=True, max_size=4).flatmap(
        lambda names: st.fixed_dictionaries({name: key_values(kind, keys[name]) for name in names})
    )


NEARLY_RIGHT = st.fixed_dictionaries(
    {"match": st.just({"name": "a"})},
    optional={
        "limits": directives(["CPUQuota", "MemoryHigh"]),
        "policy": st.just({"mode": "observe"}),
        "control": st.sampled_from(sorted(KINDS)).flatmap(
            lambda name: st.fixed_dictionaries(
                {"pulse": control_tables(pulse.Pulse), name: control_tables(KINDS[name])}
            )
        ),
    },
)


# Right by themselves, wrong together.
CLASHING = st.fixed_dictionaries(
    {
        "match": st.just({"name": "a"}),
        "control": st.sampled_from(
            [
                {"pulse": {"min": {"CPUQuota": "200%"}}},
                {"pulse": {"max": {"CPUQuota": "100%"}}},
                {"pulse": {"target": 0.03}},
                {"pulse": {"release": 0.04}},
                {"pulse": {"loud": True}},
                {"pulse": {"beats": 10}},
            ]
        ),
    },
    optional={"limits": st.sampled_from([{"CPUQuota": "50%"}, {"CPUQuota": "300%"}])},
)


@FUZZ
@given(st.lists(NEARLY_RIGHT | CLASHING, min_size=2, max_size=3))
def test_controls_that_are_nearly_right_are_taken_or_refused_alone_and_merged(files: list[dict[str, Any]]) -> None:
    found = []
    for tables in files:
        text = document(tables, "\n")
        check(text)
        found.append(outcome(text))
    good = [policy for policy in found if isinstance(policy, Policy)]
    merged = merge(good, WEB, host_mode=Mode.ENFORCE, previous={})
    names = {name for policy in good for name in policy.controls}
    assert set(merged.controls) == (set() if merged.problems else names)
    assert all(not control.settings.complaint() for control in merged.controls.values())
    if len(good) == 1:
        assert not merged.problems
