"""Several policies on one container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.model.container import Container
from governor.model.control import Control
from governor.model.errors import Position
from governor.model.policy import Mode, Policy, Setting
from governor.policy.merge import capped, merge
from governor.policy.parse import parse_policy
from tests.policy.pulse import CONTROLLERS, MIB, Pulse, Quiet

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


PREVIOUS_CONTROLS = {"pulse": Control.of(Pulse(beats=9), "policy:old")}


def control(name: str, tables: str, limits: str = "", mode: str = "enforce", match: str = 'name = "web-*"') -> Policy:
    text = f'[policy]\nmode = "{mode}"\n[match]\n{match}\n[limits]\n{limits}\n{tables}\n'
    return parse_policy(text, name=name, file=f"{name}.toml", default_mode=Mode.ENFORCE, controllers=CONTROLLERS)


def controlled(*policies: Policy, host_mode: Mode = Mode.ENFORCE) -> Merged:
    return merge(policies, WEB, host_mode=host_mode, previous=PREVIOUS, previous_controls=PREVIOUS_CONTROLS)


def test_a_control_is_a_controller_with_the_place_of_its_table() -> None:
    found = controlled(control("50-web", "[control.pulse]\nbeats = 7"))
    assert found.controls == {
        "pulse": Control(
            settings=Pulse(beats=7),
            source="policy:50-web",
            mode=Mode.ENFORCE,
            position=Position("50-web.toml", 7, 10),
        )
    }
    assert (dict(found.settings), found.problems, found.policies) == ({}, (), ("50-web",))


def test_controls_merge_key_by_key_in_the_order_of_names_and_bounds_by_directive() -> None:
    base = control("10", '[control.pulse]\nbeats = 2\ntarget = 0.1\nmin = { CPUQuota = "50%", MemoryHigh = "1M" }')
    late = control("90", '[control.pulse]\nbeats = 7\nmin.CPUQuota = "60%"\nmax.CPUQuota = "80%"\n[control.quiet]')
    found = controlled(late, base).controls
    assert found["pulse"].settings == Pulse(
        beats=7,
        target=0.1,
        min={"CPUQuotaPerSecUSec": 600_000, "MemoryHigh": MIB},
        max={"CPUQuotaPerSecUSec": 800_000},
    )
    assert (found["pulse"].source, found["pulse"].position) == ("policy:90", Position("90.toml", 7, 10))
    assert (found["quiet"].settings, found["quiet"].source) == (Quiet(), "policy:90")


def test_the_source_is_the_last_policy_that_had_a_part() -> None:
    found = controlled(control("1", "[control.pulse]\nbeats = 2"), control("2", "", "CPUWeight = 5"))
    assert found.controls["pulse"].source == "policy:1"
    assert found.policies == ("1", "2")


def test_a_policy_that_does_not_match_has_no_part_in_a_control() -> None:
    found = controlled(control("1", "[control.pulse]"), control("2", "[control.pulse]\nbeats = 7", match='name = "db"'))
    assert found.controls["pulse"].settings == Pulse()
    assert not controlled(control("2", "[control.pulse]", match='name = "db"')).controls


@pytest.mark.parametrize(
    ("modes", "host", "expected"),
    [
        (("enforce", "enforce"), Mode.ENFORCE, Mode.ENFORCE),
        (("observe", "enforce"), Mode.ENFORCE, Mode.OBSERVE),
        (("enforce", "observe"), Mode.ENFORCE, Mode.OBSERVE),
        (("enforce", "enforce"), Mode.OBSERVE, Mode.OBSERVE),
    ],
)
def test_a_control_observes_where_any_of_its_policies_does(modes: tuple[str, str], host: Mode, expected: Mode) -> None:
    policies = [control(str(n), f"[control.pulse]\nbeats = {n}", mode=mode) for n, mode in enumerate(modes, 1)]
    other = control("9", "[control.quiet]", mode="observe")
    found = controlled(*policies, other, host_mode=host)
    assert found.controls["pulse"].mode is expected
    assert found.controls["quiet"].mode is Mode.OBSERVE


def assert_refused(found: Merged, *problems: str) -> None:
    """Assert that the whole previous set stayed, and what was told of it."""
    assert [problem.render() for problem in found.problems] == list(problems)
    assert found.settings == PREVIOUS
    assert found.controls == PREVIOUS_CONTROLS


def test_bounds_that_cross_only_when_merged_keep_the_previous_set_and_name_both_places() -> None:
    low = control("10-low", '[control.pulse]\nmin.CPUQuota = "300%"', "CPUWeight = 5")
    cap = control("20-cap", '\n[control.pulse]\nmax.CPUQuota = "200%"')
    message = 'pulse: min CPUQuota "300%" is above max "200%", set in'
    assert_refused(
        controlled(low, cap),
        f"10-low.toml:8:5: {message} 20-cap.toml:9:5",
        f"20-cap.toml:9:5: {message} 10-low.toml:8:5",
    )
    fix = control("30-fix", '[control.pulse]\nmax.CPUQuota = "300%"')
    assert not controlled(low, cap, fix).problems


def test_a_complaint_of_the_merged_controller_names_the_places_of_its_keys() -> None:
    target = control("1", "[control.pulse]\ntarget = 0.03\nbeats = 2")
    release = control("2", "[control.pulse]\nrelease = 0.04\nloud = true")
    message = "pulse: release is not below target, set in"
    assert_refused(
        controlled(target, release), f"2.toml:8:1: {message} 1.toml:8:1", f"1.toml:8:1: {message} 2.toml:8:1"
    )


def test_a_complaint_that_names_no_key_names_every_table() -> None:
    policies = [control(str(n), f"[control.pulse]\n{key}") for n, key in enumerate(("loud = true", "beats = 10"), 1)]
    message = "pulse: nobody could bear it, set in"
    assert_refused(controlled(*policies), f"1.toml:7:10: {message} 2.toml:7:10", f"2.toml:7:10: {message} 1.toml:7:10")


def test_a_limit_of_one_policy_is_held_against_the_bounds_of_another() -> None:
    message = (
        'CPUQuota "300%" is above the max of [control.pulse], "200%": a control starts from the limit and returns to it'
    )
    limit, bound = control("1", "", 'CPUQuota = "300%"'), control("2", '[control.pulse]\nmax.CPUQuota = "200%"')
    assert_refused(
        controlled(limit, bound),
        f"1.toml:6:1: {message}, set in 2.toml:8:5",
        f"2.toml:8:5: {message}, set in 1.toml:6:1",
    )


def test_a_conflict_of_limits_keeps_the_controls_too() -> None:
    found = controlled(
        control("1", "[control.pulse]", "MemoryLow = '2G'"), control("2", "[control.quiet]", "MemoryMax = '1G'")
    )
    assert len(found.problems) == 2
    assert found.controls == PREVIOUS_CONTROLS


def test_without_previous_controls_a_conflict_leaves_none() -> None:
    policies = control("1", "[control.pulse]\ntarget = 0.03"), control("2", "[control.pulse]\nrelease = 0.04")
    found = merge(policies, WEB, host_mode=Mode.ENFORCE, previous={})
    assert found.problems
    assert dict(found.controls) == {}


def test_a_container_without_policies_has_no_controls() -> None:
    assert dict(controlled().controls) == {}
