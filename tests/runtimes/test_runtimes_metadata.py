from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import runtimes
from governor.model.container import Identity, Metadata
from governor.model.errors import Gone, Unsupported
from governor.runtimes import http_socket, untrusted
from governor.runtimes.http_socket import get_json
from tests.runtimes.conftest import http, make_bundle, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.runtimes import Places
    from tests.runtimes.conftest import Server

    Serve = Callable[[Path, Any], Server]

A, B = "a" * 64, "b" * 64
DOCKER = f"/system.slice/docker-{A}.scope"
PODMAN = f"/machine.slice/libpod-{A}.scope"
ROOTLESS = f"/user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service/user.slice"
OTHERS = "/user.slice/user-4242.slice/user@4242.service/user.slice"


def metadata(path: str, places: Places) -> Metadata:
    identity = runtimes.recognise(path)
    assert identity is not None
    return runtimes.metadata(identity, path, places)


def socket_of(places: Places, name: str) -> Path:
    return Path(places.run, name)


def test_docker_is_asked_by_a_filtered_list(places: Places, serve: Serve) -> None:
    entries = [
        {"Id": B, "Names": ["/other"], "Image": "x", "Labels": {}},
        {"Id": A, "Names": ["/db/alias", "/web-1"], "Image": "nginx:1", "Labels": {"tier": "front", "n": 1}},
    ]
    server = serve(socket_of(places, "docker.sock"), http(entries))
    assert metadata(DOCKER, places) == Metadata(name="web-1", image="nginx:1", labels={"tier": "front"})
    line = unquote(server.requests[0].splitlines()[0])
    assert line == f'GET /containers/json?all=1&filters={{"id": ["{A}"]}} HTTP/1.0'


def test_a_container_that_docker_does_not_know_is_gone(places: Places, serve: Serve) -> None:
    serve(socket_of(places, "docker.sock"), http([]))
    with pytest.raises(Gone):
        metadata(DOCKER, places)


def test_without_a_socket_nobody_can_be_asked(places: Places) -> None:
    with pytest.raises(Unsupported):
        metadata(DOCKER, places)
    with pytest.raises(Unsupported):
        metadata(f"{ROOTLESS}/libpod-{A}.scope", places)


def test_rootless_sockets_are_asked_only_if_they_are_their_users(places: Places, serve: Serve) -> None:
    entry = {"Id": A, "Names": ["web"], "Image": "nginx", "Labels": {"a": "b"}}
    mine = serve(socket_of(places, f"user/{os.getuid()}/podman/podman.sock"), http([entry]))
    assert metadata(f"{ROOTLESS}/libpod-{A}.scope", places) == Metadata(name="web", image="nginx", labels={"a": "b"})
    assert len(mine.requests) == 1
    system = serve(socket_of(places, "docker.sock"), http([{"Id": A, "Names": ["/secret"]}]))
    link = socket_of(places, "user/4242/docker.sock")
    link.parent.mkdir()
    link.symlink_to(socket_of(places, "docker.sock"))
    with pytest.raises(Unsupported, match="not a socket of its user"):
        metadata(f"{OTHERS}/docker-{A}.scope", places)
    assert system.requests == []


def make_database(places: Places, rows: list[tuple[str, str]]) -> None:
    database = Path(places.var_lib, "containers/storage/db.sql")
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY, Name TEXT, PodID TEXT, JSON TEXT)")
        # as podman does it: a blob in a column of text
        blobs = [(identity, config.encode()) for identity, config in rows]
        opened.executemany("INSERT INTO ContainerConfig VALUES (?, '', NULL, ?)", blobs)


def make_lists(places: Places, **lists: list[dict[str, Any]]) -> None:
    for place, entries in lists.items():
        root = places.run if place == "volatile" else places.var_lib
        name = "volatile-containers.json" if place == "volatile" else "containers.json"
        write_json(Path(root, "containers/storage/overlay-containers", name), entries)


def test_podmans_database_knows_all_without_a_service(places: Places, serve: Serve) -> None:
    server = serve(socket_of(places, "podman/podman.sock"), http([]))
    config = {"id": A, "name": "web", "rootfsImageName": "docker.io/nginx", "labels": {"tier": "front"}}
    make_database(places, [(A, json.dumps(config)), (B, "{}")])
    assert metadata(PODMAN, places) == Metadata(name="web", image="docker.io/nginx", labels={"tier": "front"})
    assert server.requests == []


def test_a_database_in_use_is_read_beside_its_owner(places: Places) -> None:
    make_database(places, [(A, '{"name": "web"}')])
    with closing(sqlite3.connect(Path(places.var_lib, "containers/storage/db.sql"), isolation_level=None)) as podman:
        podman.execute("BEGIN IMMEDIATE")
        assert metadata(PODMAN, places).name == "web"
        podman.execute("COMMIT")


def test_without_a_database_podmans_socket_is_asked(places: Places, serve: Serve) -> None:
    entry = {"Id": A, "Names": ["web"], "Image": "nginx", "Labels": None}
    server = serve(socket_of(places, "podman/podman.sock"), http([entry]))
    assert metadata(PODMAN, places) == Metadata(name="web", image="nginx")
    assert "/libpod/containers/json" in server.requests[0]


@pytest.mark.parametrize("place", ["permanent", "volatile"])
def test_without_a_socket_podmans_lists_give_name_and_image(places: Places, place: str) -> None:
    entry = {"id": A, "names": ["web"], "metadata": json.dumps({"image-name": "docker.io/nginx", "name": "web"})}
    make_lists(places, **{place: [{"id": B}, entry]})  # type: ignore[arg-type]
    assert metadata(PODMAN, places) == Metadata(name="web", image="docker.io/nginx")


@pytest.mark.parametrize("text", ["", "{}", "not json", "[7, null, []]", "[" * 100_000])
def test_damaged_files_of_podmans_tell_nothing(places: Places, text: str) -> None:
    make_lists(places, permanent=[])
    Path(places.var_lib, "containers/storage/overlay-containers/containers.json").write_text(text)
    Path(places.var_lib, "containers/storage/db.sql").write_text(text)
    with pytest.raises((Gone, Unsupported)):
        metadata(PODMAN, places)


def test_containerds_bundle_names_pod_container_and_image(places: Places) -> None:
    annotations = {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "nginx",
        "io.kubernetes.cri.image-name": "docker.io/library/nginx:1",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "prod",
    }
    make_bundle(places, "k8s.io", A, annotations)
    found = metadata(f"/kubepods.slice/kubepods-podx.slice/cri-containerd-{A}.scope", places)
    assert (found.name, found.image) == ("nginx", "docker.io/library/nginx:1")
    assert found.labels["io.kubernetes.pod.name"] == "web-0"
    assert found.labels["io.kubernetes.pod.namespace"] == "prod"
    assert found.labels["io.kubernetes.container.name"] == "nginx"


def test_ctrs_containers_are_called_by_their_id(places: Places) -> None:
    make_bundle(places, "default", "x", {"team": "a"})
    assert metadata("/default/x", places) == Metadata(name="x", labels={"team": "a"})
    with pytest.raises(Gone):
        metadata("/default/y", places)


def test_crios_bundle_has_the_pods_labels(places: Places) -> None:
    annotations = {
        "io.kubernetes.container.name": "nginx",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.cri-o.ImageName": "quay.io/nginx",
        "io.kubernetes.cri-o.Labels": json.dumps({"app": "web", "n": 7}),
    }
    config = Path(places.run, "containers/storage/overlay-containers", A, "userdata/config.json")
    write_json(config, {"annotations": annotations})
    found = metadata(f"/kubepods.slice/kubepods-podx.slice/crio-{A}.scope", places)
    assert (found.name, found.image, found.labels["app"]) == ("nginx", "quay.io/nginx", "web")
    assert "n" not in found.labels


@pytest.mark.parametrize(
    ("path", "name"),
    [("/machine.slice/machine-web.scope", "web"), ("/lxc.payload.db", "db"), ("/system.slice/a.service", "a.service")],
)
def test_some_names_are_in_the_path(places: Places, path: str, name: str) -> None:
    assert metadata(path, places) == Metadata(name=name)


def test_an_unknown_runtime_is_unsupported(places: Places) -> None:
    with pytest.raises(Unsupported):
        runtimes.metadata(Identity(runtime="rkt", id="x"), "/x", places)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x00\xff\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n[]",
        b"HTTP/1.0 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n[]",
        http([], "500 Internal Server Error"),
        http([], "301 Moved Permanently"),
        http(b"[" * 500_000),
        http(b'{"a": ' + b"9" * 50_000 + b"}"),
        http(b"\xff\xfe"),
    ],
)
def test_whatever_is_no_answer_is_unsupported(tmp_path: Path, serve: Serve, reply: bytes) -> None:
    serve(tmp_path / "s", reply)
    with pytest.raises(Unsupported):
        get_json(str(tmp_path / "s"), "/")


@pytest.mark.parametrize(
    "reply", [http({"a": 1}), b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n']
)
def test_proper_answers_are_read(tmp_path: Path, serve: Serve, reply: bytes) -> None:
    serve(tmp_path / "s", reply)
    assert get_json(str(tmp_path / "s"), "/", owner_uid=os.getuid()) == {"a": 1}


def test_not_found_is_gone(tmp_path: Path, serve: Serve) -> None:
    serve(tmp_path / "s", http({"message": "no"}, "404 Not Found"))
    with pytest.raises(Gone):
        get_json(str(tmp_path / "s"), "/")


@pytest.mark.parametrize(
    "reply",
    [
        [30.0],
        [b"HTTP/1.0 200 OK\r\n", 30.0],
        [each for _ in range(200) for each in (b"H", 0.05)],  # drips: every read succeeds, the whole never ends
        [http([]).replace(b"Content-Length: 2\r\n", b""), 30.0],  # never closes
    ],
    ids=["silent", "half", "dripping", "open"],
)
def test_a_server_that_takes_its_time_is_left(tmp_path: Path, serve: Serve, reply: list[bytes | float]) -> None:
    serve(tmp_path / "s", reply)
    started = time.monotonic()
    with pytest.raises(Unsupported):
        get_json(str(tmp_path / "s"), "/", deadline_sec=0.4)
    assert time.monotonic() - started < 2


def test_an_endless_answer_is_cut(tmp_path: Path, serve: Serve) -> None:
    serve(tmp_path / "s", [b"HTTP/1.0 200 OK\r\n\r\n[", *([b" " * 65536] * 64)])
    with pytest.raises(Unsupported, match="more than"):
        get_json(str(tmp_path / "s"), "/", limit_bytes=1 << 20)


def test_a_path_that_is_no_socket_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("fifo", "absent", "a\0b"):
        with pytest.raises(Unsupported):
            get_json(str(tmp_path / path), "/")


def test_a_socket_nobody_listens_on(tmp_path: Path, serve: Serve) -> None:
    server = serve(tmp_path / "s", b"")
    server.close()
    with pytest.raises(Unsupported, match="refused"):
        get_json(str(tmp_path / "s"), "/")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["Id", "Names", "Labels", "Image"]) | st.text(), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_no_type_in_an_answer_is_believed(value: Any) -> None:
    assert isinstance(untrusted.items(value), list)
    assert isinstance(untrusted.fields(value), dict)
    untrusted.text(value).encode()
    for key, label in untrusted.labels(value).items():
        assert (key + label).encode() is not None


@given(st.text(alphabet=st.characters(), max_size=10))
def test_half_surrogates_do_not_pass(text: str) -> None:
    assert untrusted.text(json.loads(json.dumps(text))).encode().decode() is not None


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        status, body = http_socket._parsed(data)
    except Unsupported:
        return
    assert status >= 0
    assert len(body) <= len(data)
