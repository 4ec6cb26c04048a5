from __future__ import annotations

import os
import struct
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.kernel import bpf, bpf_run
from governor.kernel.cgroup import Cgroup, CgroupRoot
from governor.kernel.devices import (
    ASKED,
    Access,
    Node,
    Rule,
    allowed_accesses,
    container_nodes,
    device_filter,
    lost_devices,
    nodes_beneath,
    systemd_rules,
    unexpressed,
)
from governor.model.errors import Gone, Unsupported
from tests.kernel.device_programs import CALLING_FILTER, Row, attach, insn, runc_filter, systemd_filter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RW, RWM = Access.READ | Access.WRITE, Access.READ | Access.WRITE | Access.MKNOD
NULL, ZERO, GPU, DISK = Node("c", 1, 3), Node("c", 1, 5), Node("c", 195, 0), Node("b", 8, 0)
ROWS: list[Row] = [("c", 1, 3, 7), ("c", 136, None, 6), ("c", None, None, 1), ("b", 8, 0, 2)]

rows = st.lists(
    st.tuples(
        st.sampled_from("cb"),
        st.none() | st.integers(0, 3),
        st.none() | st.integers(0, 3),
        st.integers(1, 7),
    ).map(lambda row: (row[0], row[1], None if row[1] is None else row[2], row[3])),
    min_size=1,
    max_size=6,
)
nodes = st.builds(Node, st.sampled_from("cb"), st.integers(0, 4), st.integers(0, 4))


def as_rules(lines: list[Row]) -> list[Rule]:
    return [Rule(kind, major, minor, Access(access)) for kind, major, minor, access in lines]


def verdict(code: bytes, node: Node, access: Access) -> int | None:
    context = struct.pack("=III", access << 16 | (2 if node.type == "c" else 1), node.major, node.minor)
    return bpf_run.run(bpf_run.decode(code), context)


@pytest.fixture
def cgroup(live_cgroup: Path) -> Iterator[Cgroup]:
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as opened:
        try:
            attach(insn(0xB7, 0, immediate=1) + insn(0x95), opened.fileno(), b"allow_all")
        except Unsupported as reason:
            pytest.skip(f"no device programs here: {reason}")
        yield opened


@given(rows, nodes, st.sampled_from(ASKED))
def test_both_styles_of_filter_mean_their_list(lines: list[Row], node: Node, access: Access) -> None:
    expected = any(rule.allows(node, access) for rule in as_rules(lines))
    assert verdict(systemd_filter(lines), node, access) == expected
    assert verdict(runc_filter(lines), node, access) == expected


@given(st.binary(max_size=400), st.binary(min_size=12, max_size=12))
def test_any_bytes_are_a_bounded_program(code: bytes, context: bytes) -> None:
    answer = bpf_run.run(bpf_run.decode(code), context)
    assert answer is None or 0 <= answer < 2**32


@pytest.mark.parametrize(
    "code",
    [
        CALLING_FILTER,
        insn(0x05, offset=-1),  # an endless loop
        insn(0x05, offset=-5),
        insn(0x95),  # r0 was never set
        insn(0xBF, 0, 1) + insn(0x95),  # returns a pointer
        insn(0x61, 0, 1, 12) + insn(0x95),  # beyond the context
        insn(0x61, 0, 10, -8) + insn(0x95),  # the stack
        insn(0x18, 1, 1) + insn(0) + insn(0xB7, 0) + insn(0x95),  # a map
        b"",
    ],
)
def test_what_is_beyond_the_subset_is_unknown(code: bytes) -> None:
    assert verdict(code, NULL, Access.READ) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (insn(0x18, 0, 0, 0, -1) + insn(0, immediate=0), 0xFFFFFFFF),
        (insn(0xB7, 0, immediate=-2) + insn(0xC7, 0, immediate=1), 0xFFFFFFFF),
        (insn(0xB4, 0, immediate=7) + insn(0x34, 0, immediate=2), 3),
        (insn(0xB4, 0, immediate=7) + insn(0x94, 0, immediate=4), 3),
        (insn(0xB4, 0, immediate=1) + insn(0x64, 0, immediate=4) + insn(0xA4, 0, immediate=3), 19),
        (insn(0xB4, 0, immediate=1) + insn(0x84, 0), 0xFFFFFFFF),
        (insn(0xB7, 0, immediate=-1) + insn(0x65, 0, offset=1) + insn(0xB7, 0, immediate=5), 5),
        (insn(0xB7, 0, immediate=-1) + insn(0x25, 0, offset=1) + insn(0xB7, 0, immediate=5), 0xFFFFFFFF),
        (insn(0xBF, 6, 1) + insn(0x71, 0, 6, 4), 1),
    ],
)
def test_arithmetic_is_the_kernels(code: bytes, expected: int) -> None:
    assert verdict(code + insn(0x95), NULL, Access.READ) == expected


def opens(directory: Path, *nodes_: tuple[int, int]) -> list[bool]:
    """Open device nodes for reading from within the cgroup `directory`, and say which the kernel lets through."""
    script = "echo $$ > $0/cgroup.procs; for n in $*; do if (: < $n) 2>/dev/null; then echo 1; else echo 0; fi; done"
    paths = [f"/dev/{ {(1, 3): 'null', (1, 5): 'zero', (1, 7): 'full'}[number] }" for number in nodes_]
    answer = subprocess.run(["sh", "-c", script, directory, *paths], check=True, capture_output=True, text=True)
    return [line == "1" for line in answer.stdout.split()]


@pytest.mark.parametrize("style", [systemd_filter, runc_filter])
def test_the_interpreter_agrees_with_the_kernel(cgroup: Cgroup, live_cgroup: Path, style: object) -> None:
    assert callable(style)
    attach(style([("c", 1, 3, 7), ("c", 1, 7, 4)]), cgroup.fileno(), b"sd_devices")
    allows = device_filter(cgroup)
    numbers = ((1, 3), (1, 5), (1, 7))
    assert opens(live_cgroup, *numbers) == [True, False, False]
    assert [allows(Node("c", *number), Access.READ) for number in numbers] == [True, False, False]


def test_all_filters_on_the_way_count(cgroup: Cgroup, live_cgroup: Path) -> None:
    (live_cgroup / "payload").mkdir()
    attach(systemd_filter([("c", 1, None, 7)]), cgroup.fileno())
    with CgroupRoot(str(live_cgroup)).open("/payload") as payload:
        attach(runc_filter([("c", 1, 3, 7), ("c", 195, 0, 7)]), payload.fileno())
        allows = device_filter(payload)
        assert [allows(node, RW) for node in (NULL, ZERO, GPU)] == [True, False, False]
        assert opens(live_cgroup / "payload", (1, 3), (1, 5)) == [True, False]
    assert device_filter(cgroup)(ZERO, RW) is True


def test_programs_are_read_back_with_name_and_code(cgroup: Cgroup) -> None:
    code = systemd_filter(ROWS)
    attach(code, cgroup.fileno(), b"sd_devices")
    found = [bpf.program(each) for each in bpf.effective_programs(cgroup.fileno(), bpf.CGROUP_DEVICE)]
    assert [each.name for each in found][-2:] == ["allow_all", "sd_devices"]
    assert found[-1].code == code


def test_a_program_that_calls_leaves_the_answer_open_but_not_where_another_denies(cgroup: Cgroup) -> None:
    attach(CALLING_FILTER, cgroup.fileno())
    assert device_filter(cgroup)(NULL, RW) is None
    attach(systemd_filter([("c", 1, 3, 7)]), cgroup.fileno())
    allows = device_filter(cgroup)
    assert allows(NULL, RW) is None
    assert allows(ZERO, RW) is False


def test_what_is_gone_is_gone(live_cgroup: Path) -> None:
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as opened:
        pass
    with pytest.raises(Gone):
        bpf.effective_programs(opened.fileno(), bpf.CGROUP_DEVICE)


def test_a_directory_that_is_no_cgroup_leaves_the_answer_open(plain_root: Path) -> None:
    (plain_root / "c").mkdir()
    with CgroupRoot(str(plain_root)).open("/c") as plain:
        try:
            answer = device_filter(plain)(NULL, RW)
        except Gone:  # EBADF: not a cgroup
            return
    assert answer is None


@pytest.fixture
def proc(tmp_path: Path) -> str:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/devices").write_text(
        "Character devices:\n  1 mem\n136 pts\n195 nvidia-frontend\n510 nvidia-uvm\n\n"
        "Block devices:\n  8 sd\n259 blkext\n"
    )
    return str(tmp_path / "proc")


def test_no_policy_restricts_nothing() -> None:
    assert systemd_rules("auto", []) is None
    assert systemd_rules("auto", [("/dev/null", "")]) is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (("/dev/null", "rw"), [Rule("c", 1, 3, RW)]),
        (("/dev/char/195:0", "rwm"), [Rule("c", 195, 0, RWM)]),
        (("/dev/block/8:0", "r"), [Rule("b", 8, 0, Access.READ)]),
        (("char-pts", "rw"), [Rule("c", 136, None, RW)]),
        (("char-nvidia*", "rw"), [Rule("c", 195, None, RW), Rule("c", 510, None, RW)]),
        (("block-*", "m"), [Rule("b", None, None, Access.MKNOD)]),
        (("char-10", "rw"), [Rule("c", 10, None, RW)]),
        (("block-pts", "rw"), []),
        (("/dev/no such", "rw"), []),
        (("/dev", "rw"), []),
        (("/etc/passwd", "rw"), []),
        (("a\0b", "rw"), []),
        (("/dev/a\0b", "rw"), []),
    ],
)
def test_device_allow_is_read_as_systemd_reads_it(proc: str, entry: tuple[str, str], expected: list[Rule]) -> None:
    assert systemd_rules("strict", [entry], proc_root=proc) == tuple(expected)


def test_a_path_is_resolved_as_pid_1_resolves_it(proc: str, tmp_path: Path) -> None:
    dev = tmp_path / "root/dev"
    dev.mkdir(parents=True)
    os.mknod(dev / "null", 0o020666, os.makedev(195, 0))
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/1/root").symlink_to(tmp_path / "root")
    allow = [("/dev/null", "rw"), ("/dev/zero", "rw")]
    assert systemd_rules("strict", allow, proc_root=proc) == (Rule("c", 195, 0, RW), Rule("c", 1, 5, RW))


def test_closed_allows_the_pseudo_devices(proc: str) -> None:
    for policy, entries in (("closed", []), ("auto", [("/dev/char/195:0", "rw")])):
        rules = systemd_rules(policy, entries, proc_root=proc)
        assert rules is not None
        assert unexpressed([(NULL, RWM), (ZERO, RW), (Node("c", 136, 4), RW)], rules) == ()
        assert unexpressed([(Node("c", 136, 4), Access.MKNOD)], rules) == (Node("c", 136, 4),)
    assert systemd_rules("strict", [], proc_root=proc) == ()


def test_two_half_rules_do_not_make_a_whole_one() -> None:
    halves = [Rule("c", 1, 3, Access.READ), Rule("c", 1, 3, Access.WRITE)]
    assert unexpressed([(NULL, Access.READ), (NULL, Access.WRITE)], halves) == ()
    assert unexpressed([(NULL, RW)], halves) == (NULL,)


@given(rows, rows, st.lists(nodes, max_size=8))
def test_nothing_is_lost_if_and_only_if_systemd_allows_all_that_is_allowed(
    kernel: list[Row], configured: list[Row], seen: list[Node]
) -> None:
    def allows(node: Node, access: Access) -> bool:
        return any(rule.allows(node, access) for rule in as_rules(kernel))

    rules = as_rules(configured)
    lost = unexpressed(allowed_accesses((), seen, allows), rules)
    for node in seen:
        taken = [a for a in ASKED if allows(node, a) and not any(rule.allows(node, a) for rule in rules)]
        assert (node in lost) == bool(taken)
    assert len(set(lost)) == len(lost)
    assert unexpressed(allowed_accesses(seen, seen, allows), as_rules(kernel)) == ()


def test_where_the_kernel_does_not_tell_only_the_containers_own_nodes_count() -> None:
    found = set(allowed_accesses([GPU], [GPU, DISK], lambda _node, _access: None))
    assert found == {(GPU, RW), (GPU, Access.READ), (GPU, Access.WRITE)}


def test_the_hosts_nodes_are_found() -> None:
    found = nodes_beneath("/dev")
    assert NULL in found
    assert all(before != after for before, after in pairwise(sorted(map(repr, found))))


def test_a_node_that_stands_for_nothing_is_no_device(tmp_path: Path) -> None:
    """systemd lays 0:0 nodes over what a unit must not see; only those of real devices can be lost."""
    os.mknod(tmp_path / "kmsg", 0o020000, 0)
    os.mknod(tmp_path / "gpu", 0o020666, os.makedev(195, 0))
    assert nodes_beneath(str(tmp_path)) == (GPU,)


def test_a_gpu_let_in_behind_systemds_back_would_be_lost(cgroup: Cgroup, live_cgroup: Path, tmp_path: Path) -> None:
    """The case that costs a container its GPU: a hook replaced systemd's filter by a wider one."""
    attach(runc_filter([("c", 1, 3, 7), ("c", 195, 0, 6)]), cgroup.fileno())
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            cgroup.write("cgroup.procs", str(sleeper.pid))
            root = tmp_path / "root"
            (root / "dev/nvidia-caps").mkdir(parents=True)
            os.mknod(root / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
            os.mknod(root / "dev/nvidia-caps/gpu", 0o666 | 0o020000, os.makedev(195, 0))
            proc = tmp_path / "fake"
            (proc / str(sleeper.pid)).mkdir(parents=True)
            (proc / str(sleeper.pid) / "root").symlink_to(root)
            allow = [("/dev/char/1:3", "rwm")]
            arguments = {"proc_root": str(proc), "dev": "/nowhere"}
            assert container_nodes(cgroup, str(proc)) == (GPU, NULL) or container_nodes(cgroup, str(proc)) == (
                NULL,
                GPU,
            )
            assert lost_devices(cgroup, "strict", allow, **arguments) == (GPU,)
            assert lost_devices(cgroup, "strict", [*allow, ("/dev/char/195:0", "rw")], **arguments) == ()
            assert lost_devices(cgroup, "auto", [], **arguments) == ()
        finally:
            sleeper.kill()
    assert live_cgroup.exists()


def test_a_containers_dev_may_be_a_trap(cgroup: Cgroup, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "dev").symlink_to("/../../dev")
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            cgroup.write("cgroup.procs", str(sleeper.pid))
            (tmp_path / str(sleeper.pid)).mkdir()
            (tmp_path / str(sleeper.pid) / "root").symlink_to(root)
            assert container_nodes(cgroup, str(tmp_path)) == ()
            (root / "dev").unlink()
            (root / "dev/a/b/c/d/e/f").mkdir(parents=True)
            (root / "dev/loop").symlink_to(".")
            assert container_nodes(cgroup, str(tmp_path)) == ()
        finally:
            sleeper.kill()
