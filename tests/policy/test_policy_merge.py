"""Several policies on one container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.model.container import Container
from governor.model.errors import Position
from governor.model.policy import Mode, Policy, Setting
from governor.policy.merge import capped, merge
from governor.policy.parse import parse_policy

if TYPE_CHECKING:
    from governor.policy.merge import Merged

WEB = Container(runtime="docker", namespace="", id="f" * 64, name="web-1", cgroup="/x", inode=7)
PREVIOUS = {"CPUWeight": Setting(value=7, source="policy:old", reason="before")}


def policy(name: str, limits: str, match: str = 'name = "web-*"', mode: str = "enforce") -> Policy:
    text = f'[policy]\nmode = "{mode}"\n[match]\n{match}\n[limits]\n{limits}\n'
    return parse_policy(text, name=name, file=f"{name}.toml", default_mode=Mode.ENFORCE)


def merged(*policies: Policy, host_mode: Mode = Mode.ENFORCE) -> Merged:
    return merge(policies, WEB, host_mode=host_mode, previous=PREVIOUS)


def test_the_later_name_wins_key_by_key_whatever_the_order_of_the_list() -> None:
    base = policy("10-base", "CPUWeight = 100\nTasksMax = 50")
    late = policy("90-late", "CPUWeight = 300\nMemoryMax = '1G'")
    found = merged(late, base)
    assert {name: setting.value for name, setting in found.settings.items()} == {
        "CPUWeight": 300,
        "TasksMax": 50,
        "MemoryMax": 1 << 30,
    }
    assert found.policies == ("10-base", "90-late")
    assert found.problems == ()


def test_losers_are_named_in_the_order_in_which_they_lost() -> None:
    found = merged(
        policy("1", "CPUQuota = '50%'"), policy("2", "CPUQuota = '100%'"), policy("3", "CPUQuota = 'infinity'")
    )
    assert found.settings["CPUQuotaPerSecUSec"].overrides == ("policy:1=50%", "policy:2=100%")


def test_a_setting_says_who_what_and_where() -> None:
    setting = merged(policy("50-web", "MemoryHigh = '512M'")).settings["MemoryHigh"]
    assert setting.source == "policy:50-web"
    assert setting.position == Position("50-web.toml", 6, 1)
    assert setting.reason == 'policy 50-web sets MemoryHigh to "512M" in 50-web.toml:6'


def test_what_does_not_match_has_no_part() -> None:
    found = merged(policy("a", "CPUWeight = 5", match='name = "db"'))
    assert (dict(found.settings), found.policies) == ({}, ())


def test_each_value_keeps_its_policys_mode() -> None:
    found = merged(policy("a", "CPUWeight = 5", mode="observe"), policy("b", "TasksMax = 5"))
    assert found.settings["CPUWeight"].mode is Mode.OBSERVE
    assert found.settings["TasksMax"].mode is Mode.ENFORCE


@pytest.mark.parametrize(
    ("mode", "host", "expected"),
    [
        (Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE),
        (Mode.OBSERVE, Mode.ENFORCE, Mode.OBSERVE),
        (Mode.ENFORCE, Mode.OBSERVE, Mode.OBSERVE),
        (Mode.OBSERVE, Mode.OBSERVE, Mode.OBSERVE),
    ],
)
def test_the_host_caps_every_mode(mode: Mode, host: Mode, expected: Mode) -> None:
    assert capped(mode, host) is expected
    found = merged(policy("a", "CPUWeight = 5", mode=mode), host_mode=host)
    assert found.settings["CPUWeight"].mode is expected


def test_a_merge_that_contradicts_itself_keeps_the_previous_set_and_names_both_places() -> None:
    found = merged(policy("10-low", "MemoryLow = '2G'"), policy("20-cap", "# cap\nMemoryMax = '1G'"))
    assert found.settings == PREVIOUS
    assert found.policies == ("10-low", "20-cap")
    assert [problem.render() for problem in found.problems] == [
        '10-low.toml:6:1: MemoryLow "2G" is above MemoryMax "1G", set in 20-cap.toml:7:1',
        '20-cap.toml:7:1: MemoryLow "2G" is above MemoryMax "1G", set in 10-low.toml:6:1',
    ]


def test_a_later_policy_can_resolve_a_contradiction() -> None:
    low, cap, fix = (
        policy("1", "MemoryLow = '2G'"), policy("2", "MemoryMax = '1G'"), policy("3", "MemoryLow = '1G'")
    )  # fmt: skip
    assert merged(low, cap).problems
    assert not merged(low, cap, fix).problems


def test_a_burst_of_one_policy_is_held_against_the_quota_of_another() -> None:
    base = policy("1", "CPUQuota = '100%'\nCPUBurst = '90ms'")
    assert "above the 50000 us" in merged(base, policy("2", "CPUQuota = '50%'")).problems[0].message


def test_users_are_matched_by_name() -> None:
    rootless = Container(runtime="podman", namespace="1000", id="a", name="x", cgroup="/x", inode=1, user=1000)
    alice = policy("a", "TasksMax = 5", match='user = "alice"')
    found = merge([alice], rootless, host_mode=Mode.ENFORCE, previous={}, users={1000: "alice"})
    assert found.policies == ("a",)
