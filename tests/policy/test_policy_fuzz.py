"""Generated policy files: whatever they say, there is a policy or a PolicyError with places inside the file.

GOVERNOR_FUZZ is the number of examples of each test; `make test-long` raises it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from governor.model.directives import BY_NAME
from governor.model.errors import PolicyError, Problem
from governor.model.policy import Mode, Policy
from governor.policy.kinds import SPELLINGS
from governor.policy.parse import parse_policy, parse_settings

EXAMPLES = int(os.environ.get("GOVERNOR_FUZZ", "2000"))
# Half of the examples each: arbitrary text mostly fails in the TOML parser, structured text gets past it.
FUZZ = settings(max_examples=max(EXAMPLES // 2, 1), deadline=2000, suppress_health_check=list(HealthCheck))

pytestmark = pytest.mark.timeout(max(120, EXAMPLES // 10))


def outcome(text: str) -> Policy | tuple[Problem, ...]:
    """Return the policy or the problems of `text`; any other exception is the test's failure."""
    try:
        return parse_policy(text, name="fuzz", file="fuzz.toml", default_mode=Mode.ENFORCE)
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
        assert all(limit.position.line <= len(lines) for limit in found.limits.values())
    try:
        parse_settings(text, file="fuzz.toml")
    except PolicyError as error:
        assert_inside(error.problems, text)


PIECES = st.sampled_from(
    ["[match]", "[limits]", "[policy]", "name", "CPUQuota", "mode", "=", '"', "'", '"""', "[", "]", "{", "}", ",", ".",
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
DIRECTIVES = st.sampled_from(sorted(BY_NAME)) | st.sampled_from(["CPUWieght", "MemoryHihg", "x"])
TABLES = st.fixed_dictionaries(
    {"match": st.dictionaries(MATCH_KEYS, VALUES, max_size=3) | VALUES},
    optional={
        "limits": st.dictionaries(DIRECTIVES, VALUES, max_size=6) | VALUES,
        "policy": st.dictionaries(st.sampled_from(["mode", "name"]), VALUES, max_size=2) | VALUES,
        "governor": st.dictionaries(st.sampled_from(["interval", "protected", "kubernetes"]), VALUES) | VALUES,
        "control": VALUES,
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
