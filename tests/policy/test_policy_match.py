"""Which containers a policy is for."""

from __future__ import annotations

from typing import Any

import pytest

from governor.model.container import Container, Pod
from governor.model.policy import Match
from governor.policy.match import matches


def container(**fields: Any) -> Container:
    defaults: dict[str, Any] = {
        "runtime": "docker", "namespace": "", "id": "f" * 64, "name": "web-1", "cgroup": "/system.slice/x", "inode": 7,
    }  # fmt: skip
    return Container(**defaults | fields)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(runtime=("docker",)), True),
        (Match(runtime=("podman", "docker")), True),
        (Match(runtime=("*",)), True),
        (Match(runtime=("podman",)), False),
        (Match(name=("web-*",)), True),
        (Match(name=("WEB-*",)), False),
        (Match(image=("*/nginx:*",)), True),
        (Match(unit=("docker-*.scope",)), True),
        (Match(slice=("machine.slice",)), False),
        (Match(labels={"tier": ("front*",)}), True),
        (Match(labels={"tier": ("front*",), "team": ("*",)}), False),
        (Match(labels={"empty": ("",)}), True),
        (Match(labels={"missing": ("*",)}), False),
        (Match(name=("web-*",), runtime=("podman",)), False),
        (Match(kubernetes={"namespace": ("*",)}), False),
        (Match(user=("*",)), False),
    ],
)
def test_all_keys_must_hold_and_any_glob_of_a_key_may(match: Match, expected: bool) -> None:
    web = container(
        image="registry/nginx:1", unit="docker-f.scope", slice="system.slice", labels={"tier": "frontend", "empty": ""}
    )
    assert matches(match, web) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"namespace": ("shop",)}, True),
        ({"namespace": ("shop",), "qos": ("burst*",)}, True),
        ({"pod": ("cart-*",), "container": ("app",)}, True),
        ({"qos": ("besteffort",)}, False),
        ({"unheard-of": ("*x",)}, False),
    ],
)
def test_pods_are_matched_by_their_place(wanted: dict[str, tuple[str, ...]], expected: bool) -> None:
    pod = Pod(uid="u", qos="burstable", namespace="shop", name="cart-1", container="app")
    assert matches(Match(kubernetes=wanted), container(runtime="crio", pod=pod)) is expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [((), False), (("1000",), True), (("alice",), True), (("10*",), True), (("bob", "1001"), False)],
)
def test_a_user_managers_container_needs_its_user(user: tuple[str, ...], expected: bool) -> None:
    rootless = container(runtime="podman", user=1000)
    assert matches(Match(name=("*",), user=user), rootless, {1000: "alice", 1001: "bob"}) is expected


def test_without_names_only_the_uid_counts() -> None:
    assert not matches(Match(user=("alice",)), container(user=1000))
    assert matches(Match(user=("1000",)), container(user=1000))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(unit=("backup.service",)), True),
        (Match(unit=("*.timer", "backup.service")), True),
        (Match(unit=("backup.service",), runtime=("docker",)), False),
        (Match(unit=("backup.*",)), False),
        (Match(unit=("*",)), False),
        (Match(unit=("backup?service",)), False),
        (Match(runtime=("systemd",)), False),
        (Match(name=("*",)), False),
    ],
)
def test_a_plain_service_needs_its_exact_name(match: Match, expected: bool) -> None:
    service = container(runtime="systemd", id="backup.service", name="backup", unit="backup.service")
    assert matches(match, service) is expected


def test_a_glob_reaches_no_service_even_where_it_is_spelled_alike() -> None:
    assert not matches(Match(unit=("*.service",)), container(runtime="systemd", unit="*.service"))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(unit=("run-*.scope",)), True),
        (Match(runtime=("systemd",)), True),
        (Match(runtime=("*",)), False),
        (Match(runtime=("system?",)), False),
        (Match(name=("run-*",)), False),
        (Match(slice=("*",)), False),
    ],
)
def test_a_plain_scope_needs_to_be_meant(match: Match, expected: bool) -> None:
    scope = container(runtime="systemd", id="run-1.scope", name="run-1", unit="run-1.scope")
    assert matches(match, scope) is expected


def test_a_service_that_is_a_container_is_matched_as_one() -> None:
    machine = container(runtime="nspawn", name="web", unit="systemd-nspawn@web.service")
    assert matches(Match(name=("web",)), machine)


def test_hostile_names_are_only_compared() -> None:
    hostile = container(name="\x1b[2J\n" + "a" * 65_536, labels={"\0": "\udcff"})
    assert matches(Match(name=("*",), labels={"\0": ("*",)}), hostile)
    assert not matches(Match(name=("*b",)), hostile)
