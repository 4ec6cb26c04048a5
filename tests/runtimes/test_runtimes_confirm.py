from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governor import runtimes
from tests.runtimes.conftest import http, make_bundle, make_cgroup, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.model.container import Identity
    from governor.runtimes import Places

A = "a" * 64
POD = "/kubepods.slice/kubepods-pod3f7a.slice"
CRI = f"{POD}/cri-containerd-{A}.scope"


def confirmed(path: str, places: Places) -> Identity | None:
    make_cgroup(places, path)
    identity = runtimes.recognise(path)
    assert identity is not None
    return runtimes.confirm(identity, path, places)


@pytest.mark.parametrize(
    "path",
    [f"/system.slice/docker-{A}.scope", f"/docker/{A}", f"/machine.slice/libpod-{A}.scope", "/lxc.payload.x", CRI],
)
def test_what_the_path_says_stands_where_nothing_speaks_against_it(places: Places, path: str) -> None:
    assert confirmed(path, places) == runtimes.recognise(path)


@pytest.mark.parametrize(("kind", "is_container"), [("container", True), ("sandbox", False)])
def test_a_sandbox_of_containerds_is_told_by_its_bundle(places: Places, kind: str, is_container: bool) -> None:
    make_bundle(places, "k8s.io", A, {"io.kubernetes.cri.container-type": kind})
    assert (confirmed(CRI, places) is not None) is is_container
    assert (confirmed(f"/kubepods/pod3f7a/{A}", places) is not None) is is_container


def test_a_bundle_that_cannot_be_read_decides_nothing(places: Places) -> None:
    make_bundle(places, "k8s.io", A, {})
    bundle = Path(places.run, "containerd/io.containerd.runtime.v2.task/k8s.io", A, "config.json")
    for text in (
        "",
        "[" * 100_000,
        "[]",
        '{"annotations": [1]}',
        '{"annotations": {"io.kubernetes.cri.container-type": 7}}',
    ):
        bundle.write_text(text)
        assert confirmed(CRI, places) is not None


def test_two_names_are_a_container_only_if_containerd_knows_it(places: Places) -> None:
    assert confirmed("/default/x", places) is None
    make_bundle(places, "default", "x", {})
    identity = confirmed("/default/x", places)
    assert identity is not None
    assert (identity.runtime, identity.namespace, identity.id) == ("containerd", "default", "x")
    assert confirmed("/other/x", places) is None


def test_docker_is_recognised_below_any_parent_by_its_containerd(places: Places) -> None:
    for path in (f"/parent/{A}", f"/some/parent/{A}"):
        assert confirmed(path, places) is None
    make_bundle(places, "moby", A, {})
    for path in (f"/parent/{A}", f"/some/parent/{A}", f"/kubepods/pod3f7a/{A}"):
        identity = confirmed(path, places)
        assert identity is not None
        assert (identity.runtime, identity.namespace, identity.id) == ("docker", "", A)
        assert (identity.pod is not None) is path.startswith("/kubepods")


@pytest.mark.parametrize(("kind", "is_container"), [("container", True), ("podsandbox", False)])
def test_a_sandbox_of_cri_dockerds_is_told_by_its_label(
    places: Places, serve: Callable[[Path, Any], object], kind: str, is_container: bool
) -> None:
    entry = {"Id": A, "Names": ["/k8s_x"], "Labels": {"io.kubernetes.docker.type": kind}}
    serve(Path(places.run, "docker.sock"), http([entry]))
    assert (confirmed(f"{POD}/docker-{A}.scope", places) is not None) is is_container


@pytest.mark.parametrize(("kind", "is_container"), [("container", True), ("sandbox", False)])
def test_a_sandbox_of_crios_is_told_by_its_bundle(places: Places, kind: str, is_container: bool) -> None:
    config = Path(places.run, "containers/storage/overlay-containers", A, "userdata/config.json")
    write_json(config, {"annotations": {"io.kubernetes.cri-o.ContainerType": kind}})
    for path in (f"/kubepods/pod3f7a/crio-{A}", f"{POD}/crio-{A}.scope"):
        assert (confirmed(path, places) is not None) is is_container


@pytest.mark.parametrize("infra", [True, False])
def test_the_container_that_holds_a_podman_pod_is_told_by_the_database(places: Places, infra: bool) -> None:
    database = Path(places.var_lib, "containers/storage/db.sql")
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE ContainerConfig(ID TEXT, Name TEXT, PodID TEXT, JSON TEXT)")
        config = f'{{"pause": {str(infra).lower()}}}'.encode()
        opened.execute("INSERT INTO ContainerConfig VALUES (?, 'n', NULL, ?)", (A, config))
    assert (confirmed(f"/machine.slice/libpod-{A}.scope", places) is None) is infra


def test_a_kept_unit_needs_a_supervisor(places: Places) -> None:
    path = "/system.slice/db.service/payload"
    assert confirmed(path, places) is None
    make_cgroup(places, "/system.slice/db.service/supervisor")
    assert confirmed(path, places) == runtimes.recognise(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_name_below_a_delegates_directory_is_forged(places: Places) -> None:
    path = f"/system.slice/app.service/libpod-payload-{A}"
    assert confirmed(path, places) is not None
    os.chown(make_cgroup(places, "/system.slice/app.service"), 1000, 1000)
    assert confirmed(path, places) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_user_may_name_what_lies_beneath_its_own_manager(places: Places) -> None:
    manager = "/user.slice/user-1000.slice/user@1000.service"
    path = f"{manager}/user.slice/libpod-{A}.scope"
    make_cgroup(places, path)
    for directory in (manager, f"{manager}/user.slice", path):
        os.chown(make_cgroup(places, directory), 1000, 1000)
    assert confirmed(path, places) is not None
    os.chown(make_cgroup(places, f"{manager}/user.slice"), 1001, 1001)
    assert confirmed(path, places) is None


def test_a_cgroup_that_is_gone_is_no_container(places: Places) -> None:
    identity = runtimes.recognise(CRI)
    assert identity is not None
    assert runtimes.confirm(identity, CRI, places) is None
    assert runtimes.confirm(replace(identity, id="\0"), f"/\0/{A}", places) is None
