"""Policies and host settings: what is taken, and every problem of a file in one go."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from governor.model.errors import PolicyError, Position, Problem
from governor.model.policy import HostSettings, Mode, Policy
from governor.policy.document import MAX_BYTES
from governor.policy.parse import parse_policy, parse_settings

GOOD = """\
# A comment
[policy]
mode = "observe"

[match]
runtime = ["docker", "podman"]
name    = "web-*"
user    = [1000, "alice"]
labels  = { tier = "frontend", "app.kubernetes.io/name" = ["a", "b"], empty = "" }
kubernetes = { namespace = "shop", qos = "b*" }

[limits]
CPUWeight  = 300
CPUQuota   = "150%"
IOReadBandwidthMax = ["/var 20M"]
"""
MATCH = '[match]\nname = "a"\n'


def policy(text: str) -> Policy:
    return parse_policy(text, name="50-web", file="50-web.toml", default_mode=Mode.ENFORCE)


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        policy(text)
    return caught.value.problems


def only(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def test_a_policy_says_all_that_was_written() -> None:
    found = policy(GOOD)
    assert (found.name, found.file, found.mode) == ("50-web", "50-web.toml", Mode.OBSERVE)
    assert found.match.runtime == ("docker", "podman")
    assert found.match.name == ("web-*",)
    assert found.match.user == ("1000", "alice")
    assert found.match.labels == {"tier": ("frontend",), "app.kubernetes.io/name": ("a", "b"), "empty": ("",)}
    assert found.match.kubernetes == {"namespace": ("shop",), "qos": ("b*",)}
    assert {name: limit.value for name, limit in found.limits.items()} == {
        "CPUWeight": 300,
        "CPUQuotaPerSecUSec": 1_500_000,
        "IOReadBandwidthMax": (("/var", 20_000_000),),
    }


def test_a_limit_knows_where_it_stands() -> None:
    assert policy(GOOD).limits["CPUQuotaPerSecUSec"].position == Position("50-web.toml", 14, 1)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_mode_is_the_layers_where_none_is_stated(mode: Mode) -> None:
    assert parse_policy(MATCH, name="a", file="a", default_mode=mode).mode is mode


@pytest.mark.parametrize("text", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD])
def test_line_ends_and_byte_order_marks_change_nothing(text: str) -> None:
    assert policy(text) == policy(GOOD)


def test_a_problem_in_a_windows_file_shows_its_line_without_the_line_end() -> None:
    problem = only("[match]\r\nnmae = 'a'\r\n")
    assert (problem.position.line, problem.position.column, problem.source) == (2, 1, "nmae = 'a'")


def test_every_problem_is_told_at_once_in_order() -> None:
    text = (
        '[polcy]\nmode = "observe"\n[match]\nnmae = "a"\nname = ["b", ""]\n[limits]\nCPUQuota = "1.5%"\n'
        'MemoryHigh = "1G"\nMemoryMax = "512M"\nDeviceAllow = ["/dev/null rw", "/etc r", "zzz"]\n'
    )
    assert [(p.position.line, p.position.column, p.width) for p in problems(text)] == [
        (1, 2, 5), (4, 1, 4), (5, 14, 2), (7, 12, 6), (8, 14, 4), (10, 32, 8), (10, 42, 5),
    ]  # fmt: skip


def test_a_problem_reads_like_a_compilers() -> None:
    assert only(MATCH + "[limits]\n\tCPUWieght = 3\n").render() == (
        '50-web.toml:4:2: unknown key "CPUWieght" in [limits]; did you mean "CPUWeight"?\n'
        "    \tCPUWieght = 3\n"
        "    \t^~~~~~~~~"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "[match] is missing"),
        ("[match]\n", 'to match every container deliberately, write runtime = "*"'),
        ("[match]\nlabels = {}\n", "[match] is empty"),
        ("match = 3\n", "match is a whole number; it is a table"),
        ("[[match]]\nname = 'a'\n", "match is an array; it is a table"),
        ("[match]\nname = []\n", "0 patterns"),
        ("[match]\nname = 3\n", "3 is a whole number"),
        ("[match]\nname = [['a']]\n", "[…] is an array"),
        ("[match]\nname = 'a['\n", "never closed"),
        ("[match]\nuser = -1\n", "-1 is a whole number"),
        ("[match]\nuser = [true]\n", "true is a boolean"),
        ("[match]\nlabels = 'x'\n", "labels is a string; it is a table"),
        ("[match]\nlabels.app.tier = 'x'\n", "a name with dots needs quotes"),
        ("[match]\nkubernetes = { namspace = 'x' }\n", 'in [match.kubernetes]; did you mean "namespace"?'),
        ("[match]\nkubernetes = { qos = 'burstabel' }\n", 'did you mean "burstable"?'),
        ("[match]\nnames = 'x'\n", 'did you mean "name"?'),
        (MATCH + "[limits]\nmemorymax = 1\n", 'did you mean "MemoryMax"?'),
        (MATCH + "[limits]\nCPUQuotaPerSecUSec = 1\n", 'in [limits] it is called "CPUQuota"'),
        (MATCH + "MemoryMax = 1\n", "in [match]; it belongs in [limits]"),
        (MATCH + "x = 1\n", "in [match]; it knows runtime, name, image"),
        ("CPUWeight = 1\n" + MATCH, "it belongs in [limits]"),
        (MATCH + "[policy]\nmode = 'enforced'\n", 'did you mean "enforce"?'),
        (MATCH + "[policy]\nmode = true\n", 'true is not "observe" or "enforce"'),
        (
            MATCH + "[[probe]]\nx = 1\n",
            'unknown key "probe" in the file; it knows [policy], [match], [limits], [control]',
        ),
        (MATCH + "[limits]\nCPUWeight = 1979-05-27\n", "is a date or time"),
    ],
)
def test_what_is_not_known_is_refused_with_advice(text: str, message: str) -> None:
    assert message in only(text).message


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("MemoryMin = '2G'\nMemoryLow = '1G'", 'MemoryMin "2G" is above MemoryLow "1G"'),
        ("MemoryLow = '60%'\nMemoryHigh = '50%'", 'MemoryLow "60%" is above MemoryHigh "50%"'),
        ("MemoryHigh = '1G'\nMemoryMax = '512M'", 'MemoryHigh "1G" is above MemoryMax "512M"'),
        ("MemoryMin = '1G'\nMemoryHigh = '50%'\nMemoryMax = '512M'", 'MemoryMin "1G" is above MemoryMax "512M"'),
        ("CPUBurst = '20ms'", 'CPUBurst "20ms" needs a CPUQuota beside it'),
        ("CPUQuotaPeriodSec = '20ms'", "needs a CPUQuota beside it"),
        ("CPUQuota = '100%'\nCPUBurst = '101ms'", 'above the 100000 us that CPUQuota "100%" gives a period'),
        ("CPUQuota = '100%'\nCPUQuotaPeriodSec = '20ms'\nCPUBurst = '21ms'", "above the 20000 us"),
        ("CPUQuota = '100%'\nCPUBurst = 'infinity'", "not a time that can be saved up"),
        ("CPUQuota = '100%'\nCPUQuotaPeriodSec = '999us'", "outside 1ms to 1s"),
        ("CPUQuota = '100%'\nCPUQuotaPeriodSec = '2s'", "outside 1ms to 1s"),
        ("IPAddressAllow = '10.1.1.1/8'\nIPAddressDeny = ['10.0.0.0/8']", "exactly what IPAddressAllow allows"),
        ("SocketBindAllow = 'any'\nSocketBindDeny = 'any'", "exactly what SocketBindAllow allows"),
    ],
)
def test_impossible_combinations_are_refused(limits: str, message: str) -> None:
    assert message in only(f"{MATCH}[limits]\n{limits}\n").message


@pytest.mark.parametrize(
    "limits",
    [
        "MemoryHigh = 'infinity'\nMemoryMax = '512M'",
        "MemoryMin = 'infinity'\nMemoryMax = '512M'",
        "MemoryMin = '1G'\nMemoryHigh = '10%'",
        "MemoryMin = 1\nMemoryLow = 1\nMemoryHigh = 1\nMemoryMax = 1",
        "CPUQuota = '100%'\nCPUBurst = '100ms'",
        "CPUQuota = '1%'\nCPUQuotaPeriodSec = '1ms'\nCPUBurst = '1ms'",
        "CPUQuota = 'infinity'\nCPUBurst = '5s'",
        "IPAddressAllow = 'localhost'\nIPAddressDeny = 'any'",
        "IPAddressAllow = []\nIPAddressDeny = []",
    ],
)
def test_possible_combinations_are_taken(limits: str) -> None:
    assert policy(f"{MATCH}[limits]\n{limits}\n").limits


def test_a_broken_quota_is_not_also_called_missing() -> None:
    assert "whole percents" in only(MATCH + "[limits]\nCPUQuota = '1.5%'\nCPUBurst = '5ms'\n").message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('a = "x\n', 1, 7),
        ("a = 1\na = 2\n", 2, 6),
        ("a =", 1, 4),
        ("[a]\n\n[a]\n", 3, 3),
        ('a = "\x1b[31m"', 1, 6),
        ("x = 1\n\na = 1" + "0" * 5000 + "\n", 3, 1),
        ("\na = " + "[" * 2000, 2, 1),
        ("a = 1\rb = 2", 1, 6),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(text: str, line: int, column: int) -> None:
    problem = only(text)
    assert problem.message.startswith("not valid TOML")
    assert (problem.position.line, problem.position.column) == (line, column)


def test_a_terminal_never_gets_a_files_control_characters() -> None:
    rendered = only('a = "\x1b[31m"').render() + problems('"\\u001b[2J" = 1\n')[0].render()
    assert "\x1b" not in rendered


def test_a_lone_surrogate_is_told() -> None:
    assert only("[match]\nname = '\udc80'\n").position.line == 2


def test_a_file_of_more_than_a_mebibyte_is_refused() -> None:
    assert "longer than" in only("#" * (MAX_BYTES + 1)).message
    assert policy(MATCH + "#" * (MAX_BYTES - len(MATCH)))


def test_a_file_with_endless_problems_is_not_read_to_its_end() -> None:
    assert len(problems("\n".join(f"key{n} = 1" for n in range(50_000)))) <= 200


@pytest.mark.parametrize(
    "text",
    [
        MATCH + '[limits]\nAllowedCPUs = "' + "0-8191," * 140_000 + '"\n',
        MATCH + '[limits]\nIPAddressAllow = "' + "10.0.0.1 " * 110_000 + '"\n',
        MATCH + "x = [\n" + "1,\n" * 300_000 + "]\n",
        MATCH + 'x = """' + "\\\\" * 400_000 + '"""\n',
        "\n".join(".".join("abcdefghij" * 40) + f"{n} = 1" for n in range(1200)),
        "\n" * 500_000 + "a = 1" + "0" * 5000,
    ],
    ids=["cpus", "networks", "array", "escapes", "dotted", "digits"],
)
def test_the_worst_mebibyte_takes_seconds_at_most(text: str) -> None:
    started = time.process_time()
    with suppress(PolicyError):
        policy(text)
    assert time.process_time() - started < 10


def test_a_long_line_is_cut_and_its_caret_left_out() -> None:
    rendered = only("[match]\nname = 'a'\nlabels = { " + "x = 'y', " * 1 + "z" * 300 + " = 3 }\n").render()
    assert len(rendered) < 600


def test_settings_have_defaults() -> None:
    assert parse_settings("", file="governor.toml") == HostSettings()


def test_settings_say_all_that_was_written() -> None:
    text = (
        '[governor]\nmode = "observe"\ninterval = "500ms"\nresync = 60\nprotected = ["vpn-*.service", "db.service"]\n'
        "actions_per_minute = 30\n[governor.kubernetes]\nwrite = true\n"
    )
    assert parse_settings(text, file="governor.toml") == HostSettings(
        mode=Mode.OBSERVE,
        interval_usec=500_000,
        protected=("vpn-*.service", "db.service"),
        kubernetes_write=True,
        resync_usec=60_000_000,
        actions_per_minute=30,
    )


@pytest.mark.parametrize("number", [0, 10_000])
def test_the_budget_of_actions_reaches_from_none_to_ten_thousand(number: int) -> None:
    text = f"[governor]\nactions_per_minute = {number}\n"
    assert parse_settings(text, file="governor.toml").actions_per_minute == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval = '1ms'", "out of range; it takes a time span of 100ms to 1min"),
        ("interval = 1.5", "is a float"),
        ("resync = 'soon'", "is not a time span"),
        ("kubernetes.write = 'maybe'", "it takes true or false"),
        ("kubernetes.write = 1", "is a whole number"),
        ("intervall = 1", 'did you mean "interval"?'),
        ("protected = 'a['", "never closed"),
        ("actions_per_minute = -1", "it takes a whole number of 0 to 10000, as in 60"),
        ("actions_per_minute = 10001", "is out of range"),
        ("actions_per_minute = '60'", "is a string"),
        ("actions_per_minut = 60", 'did you mean "actions_per_minute"?'),
    ],
)
def test_bad_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_settings(f"[governor]\n{text}\n", file="governor.toml")
    assert message in str(caught.value)


def test_a_policys_table_is_no_setting() -> None:
    with pytest.raises(PolicyError, match=r"it knows \[governor\]"):
        parse_settings(MATCH, file="governor.toml")
