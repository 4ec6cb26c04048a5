"""Controllers' tables in one policy: what they come to, and every problem with its place."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from governor.cli.check import check_file
from governor.controllers import BY_NAME as CONTROLLERS
from governor.model.control import NOTHING, Takes, keys_of
from governor.model.directives import BY_PROPERTY
from governor.model.errors import PolicyError, Position, Problem
from governor.model.policy import Mode, Policy
from governor.model.values import USEC_PER_SEC, Share
from governor.policy.clashes import exceeds
from governor.policy.controls import as_written, built
from governor.policy.keys import POLICY, controller_table, policy_table
from governor.policy.parse import parse_policy
from tests.policy import pulse
from tests.policy.pulse import MIB, Pulse, Quiet, Swap

if TYPE_CHECKING:
    from pathlib import Path

    from governor.model.control import Controller
    from governor.model.policy import ControlTable
    from governor.model.values import Value

MATCH = '[match]\nname = "a"\n'
GOOD = MATCH + (
    "[control.pulse]\n"
    'target = "10%"\n'
    "release = 0.05\n"
    'every = "5s"\n'
    'room = "32M"\n'
    "beats = 7\n"
    "loud = true\n"
    'tone = "high"\n'
    'min = { CPUQuota = "50%", MemoryHigh = "64M" }\n'
    'max = { CPUQuota = "200%" }\n'
    'cooldown = "2min"\n'
    "lease = 30\n"
)


def policy(text: str) -> Policy:
    return parse_policy(
        text, name="50-web", file="50-web.toml", default_mode=Mode.ENFORCE, controllers=pulse.CONTROLLERS
    )


def table(text: str) -> ControlTable:
    return policy(text).controls["pulse"]


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        policy(text)
    return caught.value.problems


def only(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def test_a_table_comes_to_a_controller_with_every_value_in_its_unit() -> None:
    found = table(GOOD)
    assert found.kind is Pulse
    assert built(found.kind, found.values) == Pulse(
        target=0.1,
        release=0.05,
        every=5 * USEC_PER_SEC,
        room=32 * MIB,
        beats=7,
        loud=True,
        tone="high",
        min={"CPUQuotaPerSecUSec": 500_000, "MemoryHigh": 64 * MIB},
        max={"CPUQuotaPerSecUSec": 2_000_000},
        cooldown=120 * USEC_PER_SEC,
        lease=30 * USEC_PER_SEC,
    )


def test_a_table_keeps_only_what_is_written_each_with_its_place() -> None:
    found = table('match.name = "a"\n[control.pulse]\nbeats = 7\n[control.pulse.min]\nCPUQuota = "50%"\n')
    assert {path: (one.value, one.position) for path, one in found.values.items()} == {
        ("beats",): (7, Position("50-web.toml", 3, 1)),
        ("min", "CPUQuotaPerSecUSec"): (500_000, Position("50-web.toml", 5, 1)),
    }
    assert found.position == Position("50-web.toml", 2, 10)


def test_an_empty_table_is_the_controller_with_its_defaults() -> None:
    found = policy(MATCH + "[control.pulse]\n[control.quiet]\n").controls
    assert {name: built(one.kind, one.values) for name, one in found.items()} == {"pulse": Pulse(), "quiet": Quiet()}


@pytest.mark.parametrize("text", [MATCH, MATCH + "[control]\n", MATCH + "[limits]\nCPUWeight = 5\n"])
def test_a_policy_without_controllers_has_none(text: str) -> None:
    assert dict(policy(text).controls) == {}


def test_a_policy_may_have_controllers_and_no_limits() -> None:
    assert dict(policy(GOOD).limits) == {}


def test_bounds_cannot_be_changed_behind_a_controllers_back() -> None:
    found = table(GOOD)
    with pytest.raises(TypeError):
        built(found.kind, found.values).min["CPUQuotaPerSecUSec"] = 1  # type: ignore[index]


def test_every_problem_of_every_table_is_told_at_once_in_order() -> None:
    text = (
        '[match]\nnmae = "a"\n[control.pulse]\ntarget = "60%"\nevry = "1s"\nroom = "infinity"\nbeats = 2.0\n'
        'tone = "hihg"\nmin = { MemoryHigh = "2G", CPUQuota = "1.5%", TasksMax = 3 }\nmax = { MemoryHigh = "1G" }\n'
        '[control.puls]\n[control.quiet]\ncooldown = "0s"\n'
    )
    assert [(p.position.line, p.position.column, p.width) for p in problems(text)] == [
        (2, 1, 4), (4, 10, 5), (5, 1, 4), (6, 8, 10), (7, 9, 3), (8, 8, 6),
        (9, 22, 4), (9, 39, 6), (9, 47, 8), (11, 10, 4), (13, 12, 4),
    ]  # fmt: skip


def test_a_problem_reads_like_a_compilers() -> None:
    assert only(MATCH + '[control.pulse]\n\ttarget = "60%"\n').render() == (
        '50-web.toml:4:11: target: "60%" is out of range; '
        'it takes a ratio (a number or a percentage) of 0.01 to 0.5, as in "5%"\n'
        '    \ttarget = "60%"\n'
        "    \t         ^~~~~"
    )


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("[control.puls]\nx = 1", 'unknown controller "puls" in [control]; did you mean "pulse"?', (3, 10)),
        ("[control.x]", 'unknown controller "x" in [control]; it knows pulse, quiet', (3, 10)),
        ("[control]\nbeats = 3", 'unknown controller "beats" in [control]; it belongs in pulse', (4, 1)),
        ("[pulse]\nbeats = 3", 'unknown key "pulse" in the file; it belongs in [control]', (3, 2)),
        ("[control.pulse]\nbeatz = 3", 'unknown key "beatz" in [control.pulse]; did you mean "beats"?', (4, 1)),
        (
            "[control.quiet]\nzzz = 3",
            'unknown key "zzz" in [control.quiet]; it knows cooldown, lease',
            (4, 1),
        ),
        ('[control.pulse]\nCPUQuota = "5%"', '"CPUQuota" in [control.pulse]; it belongs in min or max', (4, 1)),
        ("[control.pulse]\nCPUWeight = 5", '"CPUWeight" in [control.pulse]; it belongs in [limits]', (4, 1)),
        (
            "[control.pulse.min]\nTasksMax = 5",
            "pulse does not move TasksMax; its directives are CPUQuota, MemoryHigh, IOReadBandwidthMax",
            (4, 1),
        ),
        (
            "[control.pulse.max]\nMemoryHihg = 5",
            'unknown key "MemoryHihg" in [control.pulse.max]; did you mean "MemoryHigh"?',
            (4, 1),
        ),
        (
            "[control.pulse.max]\nCPUQuotaPerSecUSec = 5",
            '"CPUQuotaPerSecUSec" is a D-Bus property; in [control.pulse.max] it is called "CPUQuota"',
            (4, 1),
        ),
        ('[control.quiet]\nmin = { CPUQuota = "5%" }', 'unknown key "min" in [control.quiet]', (4, 1)),
        ("control = 3", "control is a whole number; it is a table", (1, 11)),
        ("control = []", "control is an array; it is a table", (1, 11)),
        ("control.pulse = 3", 'pulse is a whole number; it is a table, as in { target = "5%" }', (1, 17)),
        ("[[control.pulse]]", "pulse is an array; it is a table", (3, 11)),
        ("[control.pulse]\nmin = 3", 'min is a whole number; it is a table, as in { CPUQuota = "50%" }', (4, 7)),
        ("[control.pulse]\nbeats = { a = 1 }", "beats: {…} is a table; it takes a whole number", (4, 9)),
        (
            '[control.pulse]\nmin = { CPUQuota = "12.5%" }',
            'CPUQuota: "12.5%" is not a whole percentage',
            (4, 20),
        ),
        (
            '[control.pulse]\nmin.IOReadBandwidthMax = ["/var 20M", "x"]',
            'IOReadBandwidthMax: "x" is not a device and a value',
            (4, 39),
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_with_advice_and_its_place(
    text: str, message: str, place: tuple[int, int]
) -> None:
    problem = only(f"{text}\n{MATCH}" if text.startswith("control") else f"{MATCH}{text}\n")
    assert message in problem.message
    assert (problem.position.line, problem.position.column) == place


@pytest.mark.parametrize(
    ("keys", "message", "place"),
    [
        ('min.CPUQuota = "300%"\nmax.CPUQuota = "200%"', 'pulse: min CPUQuota "300%" is above max "200%"', (4, 16)),
        ('min.MemoryHigh = "2%"\nmax.MemoryHigh = "1%"', 'pulse: min MemoryHigh "2%" is above max "1%"', (4, 18)),
        ('min.MemoryHigh = "infinity"\nmax.MemoryHigh = "1G"', 'min MemoryHigh "infinity" is above max "1G"', (4, 18)),
        (
            'max.IOReadBandwidthMax = "/var 2M"\nmin.IOReadBandwidthMax = "/var 3M"',
            'pulse: min IOReadBandwidthMax "/var 3M" is above max "/var 2M"',
            (5, 26),
        ),
        ("release = 0.05", "pulse: release is not below target", (4, 11)),
        ('target = "2%"', "pulse: release is not below target", (4, 10)),
        ('min.CPUQuota = "1%"\nmin.MemoryHigh = 1\nmax.MemoryHigh = 9', "next to nothing", (5, 18)),
        ("loud = true\nbeats = 10", "pulse: nobody could bear it", (3, 10)),
        ("target = 0.1\nrelease = 0.2", "pulse: release is not below target", (5, 11)),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(keys: str, message: str, place: tuple[int, int]) -> None:
    problem = only(f"{MATCH}[control.pulse]\n{keys}\n")
    assert message in problem.message
    assert (problem.position.line, problem.position.column) == place


@pytest.mark.parametrize(
    "keys",
    [
        'min.CPUQuota = "200%"\nmax.CPUQuota = "200%"',
        'min.CPUQuota = "200%"\nmax.MemoryHigh = "1M"',
        'min.MemoryHigh = "50%"\nmax.MemoryHigh = "1M"',
        'min.IOReadBandwidthMax = "/a 3M"\nmax.IOReadBandwidthMax = "/b 2M"',
        'min.CPUQuota = "200%"\nmax.CPUQuota = "infinity"',
        "min = {}\nmax = {}",
    ],
)
def test_bounds_that_do_not_cross_are_taken(keys: str) -> None:
    assert table(f"{MATCH}[control.pulse]\n{keys}\n")


def test_a_broken_key_is_not_also_called_contradictory() -> None:
    assert "did you mean" in only(MATCH + "[control.pulse]\ntarge = 0.4\nrelease = 0.2\n").message
    assert "out of range" in only(MATCH + "[control.pulse]\ntarget = 0.6\nrelease = 0.2\n").message
    found = problems(MATCH + '[control.pulse]\nrelease = 0.2\nmin.CPUQuota = "0%"\nmin.MemoryHigh = "1G"\n')
    assert len(found) == 1


def test_what_is_surely_wrong_is_told_beside_a_broken_key() -> None:
    broken = '[limits]\nCPUQuota = "300%"\n[control.pulse]\nbeatz = 1\n'
    assert [p.position.line for p in problems(f'{MATCH}{broken}max.CPUQuota = "200%"\n')] == [4, 6]
    assert [p.position.line for p in problems(f"{MATCH}{broken}min.MemoryHigh = 2\nmax.MemoryHigh = 1\n")] == [6, 7]


@pytest.mark.parametrize(
    ("limit", "bounds", "message"),
    [
        ('CPUQuota = "300%"', 'max.CPUQuota = "200%"', 'CPUQuota "300%" is above the max of [control.pulse], "200%"'),
        ('CPUQuota = "20%"', 'min.CPUQuota = "50%"', 'CPUQuota "20%" is below the min of [control.pulse], "50%"'),
        ('MemoryHigh = "60%"', 'max.MemoryHigh = "50%"', 'MemoryHigh "60%" is above the max of [control.pulse]'),
        ('IOReadBandwidthMax = ["/a 1M", "/b 9M"]', 'max.IOReadBandwidthMax = "/b 5M"', "is above the max"),
    ],
)
def test_a_limit_out_of_a_controllers_bounds_is_refused(limit: str, bounds: str, message: str) -> None:
    problem = only(f"{MATCH}[limits]\n{limit}\n[control.pulse]\n{bounds}\n")
    assert message in problem.message
    assert problem.message.endswith(": a control starts from the limit and returns to it")
    assert (problem.position.line, problem.position.column) == (4, limit.index("=") + 3)


@pytest.mark.parametrize(
    ("limit", "bounds"),
    [
        ('CPUQuota = "200%"', 'min.CPUQuota = "50%"\nmax.CPUQuota = "200%"'),
        ('CPUQuota = "50%"', 'min.CPUQuota = "50%"\nmax.CPUQuota = "200%"'),
        ('CPUQuota = "infinity"', 'min.CPUQuota = "50%"\nmax.CPUQuota = "200%"'),
        ('MemoryHigh = "60%"', 'max.MemoryHigh = "1M"'),
        ('MemoryMax = "2G"', 'max.MemoryHigh = "1G"'),
        ('IOReadBandwidthMax = ["/a 9M", "/b infinity"]', 'max.IOReadBandwidthMax = "/b 5M"'),
    ],
)
def test_a_limit_within_the_bounds_or_beside_them_is_taken(limit: str, bounds: str) -> None:
    assert policy(f"{MATCH}[limits]\n{limit}\n[control.pulse]\n{bounds}\n")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2, 1, True),
        (1, 1, False),
        (Share(2), Share(1), True),
        (Share(1), Share(1), False),
        (Share(9000), 1, False),
        (9000, Share(1), False),
        ("b", "a", False),
        ((("/a", 2),), (("/a", 1),), True),
        ((("/a", 1), ("/b", 1)), (("/a", 1), ("/b", 2)), False),
        ((("/a", 1), ("/b", 2)), (("/b", 1),), True),
        (((2, 6, 1, 2),), ((2, 6, 1, 1),), False),
        ((("/a", 2),), 1, False),
        (2, (("/a", 1),), False),
        ((1, 2), (0, 1), False),
        (("10.0.0.0/8",), (), False),
        ((("/dev/a", "rw"),), (("/dev/a", "r"),), False),
    ],
)
def test_only_numbers_of_one_sort_are_compared(low: Value, high: Value, expected: bool) -> None:
    assert exceeds(low, high) is expected


def test_a_value_to_be_passed_over_exceeds_nothing() -> None:
    assert not exceeds(5, 1, but=5)
    assert exceeds(5, 1, but=4)
    assert not exceeds((("/a", 5),), (("/a", 1),), but=5)


def test_properties_are_called_as_in_toml() -> None:
    assert as_written(("limits", "CPUQuotaPerSecUSec")) == ("limits", "CPUQuota")
    assert as_written(("control", "pulse")) == ("control", "pulse")


def test_an_example_of_bounds_is_of_what_the_controller_moves() -> None:
    examples = [{key.name: key.example for key in controller_table(kind).keys} for kind in (Pulse, Swap)]
    assert [(one["min"], one["max"]) for one in examples] == [
        ('{ CPUQuota = "50%" }', '{ CPUQuota = "200%" }'),
        ('{ MemorySwapMax = "512M" }', '{ MemoryZSwapMax = "1M" }'),
    ]


def test_the_daemons_controllers_are_the_registered_ones() -> None:
    assert policy_table(CONTROLLERS) == POLICY
    control = POLICY.find("control")
    assert control is not None
    assert [key.name for key in control.keys] == list(CONTROLLERS)


KINDS = [Pulse, Quiet, Swap, *CONTROLLERS.values()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_controllers_defaults_and_examples_are_what_its_keys_take(kind: type[Controller]) -> None:
    registry = {kind.name: kind}
    for key in controller_table(kind).keys:
        text = f"{MATCH}[control.{kind.name}]\n{key.name} = {key.example}\n"
        try:
            found = parse_policy(text, name="a", file="a", default_mode=Mode.ENFORCE, controllers=registry)
        except PolicyError as error:
            # An example may need another key beside it, but must be right by itself.
            assert [p.message.startswith(f"{kind.name}: ") for p in error.problems] == [True], str(error)  # noqa: PT017
        else:
            assert found.controls[kind.name].values
    plain = parse_policy(
        f"{MATCH}[control.{kind.name}]\n", name="a", file="a", default_mode=Mode.ENFORCE, controllers=registry
    )
    assert built(kind, plain.controls[kind.name].values) == kind()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_controllers_defaults_are_within_its_bounds(kind: type[Controller]) -> None:
    infos = keys_of(kind)
    for one in fields(kind):
        info = infos[one.name]
        if info.takes is Takes.LIMITS:
            assert getattr(kind(), one.name) == NOTHING
        default: Any = one.default
        assert info.low is None or default >= info.low, one.name
        assert info.high is None or default <= info.high, one.name
        assert not info.choices or default in info.choices
        assert tomli.loads(f"{one.name} = {info.example}")
        assert info.summary
    assert all(name in BY_PROPERTY for name in kind.properties)


def test_the_command_line_shows_what_is_wrong_with_a_control(tmp_path: Path) -> None:
    file = tmp_path / "50-web.toml"
    file.write_text(MATCH + "[control.no-such]\nx = 1\n", encoding="utf-8")
    (problem,) = check_file(file)
    assert problem.render().startswith(f'{file}:3:10: unknown controller "no-such" in [control]')
    assert problem.render().endswith("\n    [control.no-such]\n             ^~~~~~~")
