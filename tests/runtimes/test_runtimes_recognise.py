from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import runtimes
from governor.model.container import Identity, Pod
from governor.runtimes import Places, kubernetes, nspawn

A = "0123456789abcdef" * 4
B = "f" * 64
UID = "3f7a5c1e-0a0b-4c4d-8e8f-1a2b3c4d5e6f"
SLICE = UID.replace("-", "_")
USER = "/user.slice/user-1000.slice/user@1000.service"
BURSTABLE = Pod(uid=UID, qos="burstable")
GUARANTEED = Pod(uid=UID, qos="guaranteed")
PODS = "/kubepods.slice/kubepods-burstable.slice"


def of(runtime: str, container_id: str = A, namespace: str = "", name: str = "", pod: Pod | None = None) -> Identity:
    return Identity(runtime=runtime, id=container_id, namespace=namespace, name=name, pod=pod)


CONTAINERS = {
    # docker
    f"/system.slice/docker-{A}.scope": of("docker"),
    f"/web.slice/web-front.slice/docker-{A}.scope": of("docker"),
    f"{USER}/user.slice/docker-{A}.scope": of("docker", namespace="1000"),
    f"/docker/{A}": of("docker"),
    f"/actions_job/{A}": of("docker"),
    f"/my/parent/{A}": of("docker"),
    # podman
    f"/machine.slice/libpod-{A}.scope": of("podman"),
    f"/libpod_parent/libpod-{A}": of("podman"),
    f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope": of("podman"),
    f"{USER}/user.slice/libpod-{A}.scope": of("podman", namespace="1000"),
    f"{USER}/user.slice/user-libpod_pod_{B}.slice/libpod-{A}.scope": of("podman", namespace="1000"),
    f"{USER}/user.slice/podman-4711.scope/{A}": of("podman", namespace="1000"),
    f"/system.slice/web.service/libpod-payload-{A}": of("podman"),
    f"{USER}/app.slice/web.service/libpod-payload-{A}": of("podman", namespace="1000"),
    f"/system.slice/web.service/{A}": of("podman"),
    # containerd
    f"{PODS}/kubepods-burstable-pod{SLICE}.slice/cri-containerd-{A}.scope": of(
        "containerd", namespace="k8s.io", pod=BURSTABLE
    ),
    f"/kubepods.slice/kubepods-pod{SLICE}.slice/cri-containerd-{A}.scope": of(
        "containerd", namespace="k8s.io", pod=GUARANTEED
    ),
    f"/kubepods/burstable/pod{UID}/{A}": of("containerd", namespace="k8s.io", pod=BURSTABLE),
    f"/kubepods/pod{UID}/{A}": of("containerd", namespace="k8s.io", pod=GUARANTEED),
    f"/system.slice/containerd.service/kubepods-burstable-pod{SLICE}.slice:cri-containerd:{A}": of(
        "containerd", namespace="k8s.io", pod=BURSTABLE
    ),
    f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
    f"kubelet-kubepods-burstable-pod{SLICE}.slice/cri-containerd-{A}.scope": of(
        "containerd", namespace="k8s.io", pod=BURSTABLE
    ),
    "/default/x": of("containerd", "x", namespace="default", name="x"),
    f"/default/{A}": of("containerd", namespace="default", name=A),
    f"/system.slice/nerdctl-{A}.scope": of("containerd", namespace="default"),
    # CRI-O
    f"{PODS}/kubepods-burstable-pod{SLICE}.slice/crio-{A}.scope": of("crio", pod=BURSTABLE),
    f"/kubepods/burstable/pod{UID}/crio-{A}": of("crio", pod=BURSTABLE),
    # cri-dockerd
    f"{PODS}/kubepods-burstable-pod{SLICE}.slice/docker-{A}.scope": of("docker", pod=BURSTABLE),
    # nspawn
    "/machine.slice/machine-web.scope": of("nspawn", "web", name="web"),
    "/machine.slice/machine-web\\x2d1.scope": of("nspawn", "web-1", name="web-1"),
    "/machine.slice/systemd-nspawn@web\\x2d1.service": of("nspawn", "web-1", name="web-1"),
    "/system.slice/db.service/payload": of("nspawn", "db", name="db"),
    # LXC
    "/lxc.payload.web": of("lxc", "web", name="web"),
    "/lxc.payload.a.b": of("lxc", "a.b", name="a.b"),
    "/lxc/web": of("lxc", "web", name="web"),
    f"{USER}/lxc.payload.web": of("lxc", "web", namespace="1000", name="web"),
    # plain units, and runtimes called by hand
    "/system.slice/crun-x.scope": of("systemd", "crun-x.scope", name="crun-x.scope"),
    "/system.slice/nginx.service": of("systemd", "nginx.service", name="nginx.service"),
    "/system.slice/system-getty.slice/getty@tty1.service": of(
        "systemd", "getty@tty1.service", name="getty@tty1.service"
    ),
    f"{USER}/app.slice/a.service": of("systemd", "a.service", namespace="1000", name="a.service"),
    USER: of("systemd", "user@1000.service", name="user@1000.service"),
    "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope": of(
        "systemd", "machine-qemu\\x2d1\\x2dvm.scope", name="machine-qemu\\x2d1\\x2dvm.scope"
    ),
}


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.replace(A, "A").replace(B, "B"))
def test_a_path_tells_the_container(path: str) -> None:
    assert runtimes.recognise(path) == CONTAINERS[path]


NOT_CONTAINERS = [
    "",
    "/",
    "/system.slice",
    f"/machine.slice/libpod-conmon-{A}.scope",
    f"{PODS}/kubepods-burstable-pod{SLICE}.slice/crio-conmon-{A}.scope",
    f"{PODS}/kubepods-burstable-pod{SLICE}.slice/crio-{A}",
    f"{PODS}/kubepods-burstable-pod{SLICE}.slice",
    "/system.slice/dev-hugepages.mount",
    "/system.slice/var.mount",
    "/lxc.monitor.web",
    "/lxc/lxc.monitor.web",
    "/docker/buildkit/0ic4k8tkwfeb0b7pnz9u3q9a2",
    "/system.slice/docker.service/docker/buildkit/x",
    f"/docker/{A[:-1]}",
    f"/docker/{A.upper()}",
    f"/system.slice/web.service/runtime/libpod-payload-{A}",
    # a container's own cgroups
    f"/machine.slice/libpod-{A}.scope/container",
    f"/system.slice/docker-{A}.scope/system.slice/nginx.service",
    f"/system.slice/docker-{A}.scope/docker/{B}",
    f"/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{B}.scope",
    f"/docker/{A}/docker/{B}",
    "/machine.slice/machine-web.scope/payload/system.slice/a.service",
    "/machine.slice/systemd-nspawn@web.service/payload",
    "/machine.slice/systemd-nspawn@web.service/supervisor",
    "/lxc.payload.web/lxc.payload.inner",
    # a unit's name inside of another unit
    "/system.slice/a.service/b.service",
    f"{USER}/app.slice/a.service/b.scope",
]


@pytest.mark.parametrize("path", NOT_CONTAINERS, ids=lambda path: path.replace(A, "A").replace(B, "B"))
def test_what_is_no_container(path: str) -> None:
    assert runtimes.recognise(path) is None


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        (f"{USER}/app.slice/a.service", 1000),
        (USER, None),
        (f"{USER}/", None),
        (f"/system.slice{USER}/x", None),
        ("/user.slice/user-1000.slice/user@1001.service/x", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/user.slice/user-0.slice/user@0.service/x", 0),
    ],
)
def test_the_owner_is_whose_manager_it_lies_beneath(path: str, uid: int | None) -> None:
    assert runtimes.owner_uid(path) == uid


def test_a_forged_docker_scope_carries_its_users_mark() -> None:
    forged = f"{USER}/app.slice/docker-{A}.scope"
    identity = runtimes.recognise(forged)
    assert identity is not None
    assert (identity.runtime, identity.namespace, runtimes.owner_uid(forged)) == ("docker", "1000", 1000)


names = st.one_of(
    st.sampled_from(
        [
            *sorted({name for path in [*CONTAINERS, *NOT_CONTAINERS] for name in path.split("/")}),
            "machine-\\x.scope",
            "machine-\\xff.scope",
            "lxc.payload.",
            ".scope",
            "docker-.scope",
            ":cri-containerd:",
        ]
    ),
    st.text(max_size=20),
    st.binary(max_size=20).map(os.fsdecode),
)


@given(st.lists(names, max_size=40).map(lambda parts: "/" + "/".join(parts)))
def test_any_string_is_taken(path: str) -> None:
    identity = runtimes.recognise(path)
    if identity is not None:
        assert identity.runtime in runtimes.RUNTIMES
        assert identity.id
        if runtimes.owner_uid(path) is not None:
            assert identity.namespace == str(runtimes.owner_uid(path))
        runtimes.payload(path, ["container"])
        assert runtimes.confirm(identity, path, Places(run="/nowhere", var_lib="/nowhere", cgroup="/nowhere")) is None


@given(st.lists(names, min_size=1, max_size=6), st.sampled_from(sorted(CONTAINERS)))
def test_nothing_below_a_container_is_one(below: list[str], path: str) -> None:
    identity = CONTAINERS[path]
    if identity.runtime == "systemd" or (identity.name == identity.id and identity.runtime == "containerd"):
        return
    if any(name.strip("/") for name in below):
        assert runtimes.recognise(f"{path}/{'/'.join(below)}") is None


@given(st.text(max_size=30))
def test_unescaping_undoes_systemds_escapes(name: str) -> None:
    escaped = "".join(f"\\x{byte:02x}" for byte in os.fsencode(name.encode(errors="replace").decode()))
    assert nspawn.unescape(escaped) == name.encode(errors="replace").decode()


@pytest.mark.parametrize(
    ("path", "children", "payload"),
    [
        (f"/machine.slice/libpod-{A}.scope", ("container",), f"/machine.slice/libpod-{A}.scope/container"),
        (f"/machine.slice/libpod-{A}.scope", (), ""),
        ("/machine.slice/machine-w.scope", ("payload", "supervisor"), "/machine.slice/machine-w.scope/payload"),
        (f"/system.slice/docker-{A}.scope", ("init.scope", "system.slice"), ""),
        ("/system.slice/nginx.service", ("container", "payload"), ""),
        ("/system.slice", ("container",), ""),
    ],
)
def test_the_payload_is_the_runtimes_child(path: str, children: tuple[str, ...], payload: str) -> None:
    assert runtimes.payload(path, children) == payload


def test_pods_get_their_names_from_labels() -> None:
    labels = {
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.container.name": "nginx",
    }
    assert kubernetes.named(BURSTABLE, labels) == Pod(
        uid=UID, qos="burstable", namespace="prod", name="web-0", container="nginx"
    )
    assert kubernetes.named(BURSTABLE, {}) == BURSTABLE


def test_each_file_of_the_folder_is_a_runtime_or_named_here() -> None:
    helpers = {"__init__", "http_socket", "kubernetes", "oci", "paths", "untrusted"}
    stems = {path.stem for path in Path(runtimes.__file__).parent.glob("*.py")}
    assert stems - helpers == set(runtimes.RUNTIMES)
