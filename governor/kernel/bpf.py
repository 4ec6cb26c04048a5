"""Which BPF programs are attached to a cgroup, and their instructions: bpf(2) by hand, since it takes three calls.

Structures: linux/bpf.h, union bpf_attr and struct bpf_prog_info. Fields are only ever appended to them, and the kernel
takes shorter ones than it knows.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUP_INET_INGRESS, CGROUP_INET_EGRESS, CGROUP_DEVICE, CGROUP_INET4_BIND, CGROUP_INET6_BIND = 0, 1, 6, 8, 9
"""enum bpf_attach_type"""

PROG_GET_FD_BY_ID = 13
OBJ_GET_INFO_BY_FD = 15
PROG_QUERY = 16
LINK_GET_FD_BY_ID = 30
LINK_GET_NEXT_ID = 31
LINK_DETACH = 34
"""enum bpf_cmd"""
_LINK_TYPE_CGROUP = 3
_QUERY_EFFECTIVE = 1

_SYSCALLS = {"x86_64": 321, "ppc64le": 361, "s390x": 351, "armv7l": 386, "i686": 357, "i386": 357}
_GENERIC_SYSCALL = 280
"""asm-generic/unistd.h: aarch64, riscv64, loongarch64."""

_MAX_PROGRAMS = 256
"""The kernel attaches at most 64 to one cgroup (BPF_CGROUP_MAX_PROGS); effective ones add up along the path."""

_MAX_CODE_BYTES = 8 * 65536
_INFO_BYTES = 80
"""struct bpf_prog_info up to and with `name`."""
_LINK_INFO_BYTES = 32
"""struct bpf_link_info up to and with `cgroup`."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """One loaded program. `code` is its translated instructions, 8 bytes each; b"" where the kernel hides them."""

    id: int
    name: str
    code: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """One link that attaches a program to a cgroup; ids grow with time."""

    id: int
    cgroup_id: int
    program_name: str


def effective_programs(cgroup_fd: int, attach_type: int) -> tuple[int, ...]:
    """Return the ids of the programs that run for a cgroup, its own and its ancestors', in order.

    Raises Gone, or Unsupported where this kernel or these privileges do not allow the question.
    """
    return _query(cgroup_fd, attach_type, _QUERY_EFFECTIVE)


def attached_names(cgroup_fd: int, attach_type: int) -> list[str]:
    """Return the names of the programs that are attached to this very cgroup. Raises as effective_programs()."""
    names = []
    for program_id in _query(cgroup_fd, attach_type, 0):
        with contextlib.suppress(Gone):
            names.append(_program_name(program_id))
    return names


def cgroup_links() -> Iterator[Link]:
    """Yield every link to a cgroup on this host, oldest first. Raises Unsupported where we may not look."""
    link_id = 0
    while True:
        attributes = bytearray(struct.pack("=III", link_id, 0, 0))
        try:
            _bpf(LINK_GET_NEXT_ID, attributes)
        except Gone:
            return
        (link_id,) = struct.unpack_from("=I", attributes, 4)
        with contextlib.suppress(Gone):
            link = _link(link_id)
            if link is not None:
                yield link


def detach(link: Link) -> None:
    """Detach what `link` attaches, whoever else has it open. Raises Gone, Unsupported."""
    with _fd_by_id(LINK_GET_FD_BY_ID, link.id) as fd:
        _bpf(LINK_DETACH, bytearray(struct.pack("=I", fd)))


def _link(link_id: int) -> Link | None:
    with _fd_by_id(LINK_GET_FD_BY_ID, link_id) as fd:
        info = _object_info(fd, bytearray(_LINK_INFO_BYTES))
    kind, _, program_id = struct.unpack_from("=III", info, 0)
    if kind != _LINK_TYPE_CGROUP:
        return None
    (cgroup_id,) = struct.unpack_from("=Q", info, 16)
    return Link(link_id, cgroup_id, _program_name(program_id))


def _program_name(program_id: int) -> str:
    with _fd_by_id(PROG_GET_FD_BY_ID, program_id) as fd:
        return _name(_info(fd, None))


def _query(cgroup_fd: int, attach_type: int, flags: int) -> tuple[int, ...]:
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    attributes = bytearray(64)
    struct.pack_into("=iIIIQI", attributes, 0, cgroup_fd, attach_type, flags, 0, ctypes.addressof(ids), len(ids))
    _bpf(PROG_QUERY, attributes)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return tuple(ids[:count])


def program(program_id: int) -> Program:
    """Return the program with that id. Raises Gone where it was unloaded meanwhile, Unsupported where hidden."""
    with _fd_by_id(PROG_GET_FD_BY_ID, program_id) as fd:
        size = struct.unpack_from("=I", _info(fd, None), 20)[0]
        code = (ctypes.c_uint8 * min(size, _MAX_CODE_BYTES))()
        info = _info(fd, code)
    shown = struct.unpack_from("=Q", info, 32)[0] != 0  # the kernel clears the pointer where it shows nothing
    return Program(program_id, _name(info), bytes(code) if shown and size <= _MAX_CODE_BYTES else b"")


def _name(info: bytearray) -> str:
    return os.fsdecode(bytes(info[64:80]).partition(b"\0")[0])


def _info(fd: int, code: ctypes.Array[ctypes.c_uint8] | None) -> bytearray:
    info = bytearray(_INFO_BYTES)
    if code is not None:
        struct.pack_into("=I", info, 20, len(code))
        struct.pack_into("=Q", info, 32, ctypes.addressof(code))
    return _object_info(fd, info)


def _object_info(fd: int, info: bytearray) -> bytearray:
    target = (ctypes.c_uint8 * len(info)).from_buffer(info)
    _bpf(OBJ_GET_INFO_BY_FD, bytearray(struct.pack("=iIQ", fd, len(info), ctypes.addressof(target))))
    return info


@contextlib.contextmanager
def _fd_by_id(command: int, object_id: int) -> Iterator[int]:
    fd = _bpf(command, bytearray(struct.pack("=III", object_id, 0, 0)))
    try:
        yield fd
    finally:
        os.close(fd)


def _bpf(command: int, attributes: bytearray) -> int:
    """Return what bpf(2) returns. Raises Gone or Unsupported."""
    machine = os.uname().machine
    number = _SYSCALLS.get(machine, _GENERIC_SYSCALL)
    buffer = (ctypes.c_uint8 * len(attributes)).from_buffer(attributes)
    size = ctypes.c_uint(len(attributes))
    result = _libc.syscall(ctypes.c_long(number), ctypes.c_int(command), ctypes.byref(buffer), size)
    if result < 0:
        code = ctypes.get_errno()
        if code in (errno.ENOENT, errno.EBADF, errno.ENODEV):
            raise Gone("the cgroup or its BPF program is gone")
        raise Unsupported(f"BPF programs of a cgroup cannot be read: {os.strerror(code)}")
    return int(result)
