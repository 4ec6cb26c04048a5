"""Which BPF programs are attached to a cgroup, and their instructions: bpf(2) by hand, since it takes three calls.

Structures: linux/bpf.h, union bpf_attr and struct bpf_prog_info. Fields are only ever appended to them, and the kernel
takes shorter ones than it knows.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.model.errors import Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUP_DEVICE = 6
"""enum bpf_attach_type, BPF_CGROUP_DEVICE"""

PROG_GET_FD_BY_ID = 13
OBJ_GET_INFO_BY_FD = 15
PROG_QUERY = 16
_QUERY_EFFECTIVE = 1

_SYSCALLS = {"x86_64": 321, "ppc64le": 361, "s390x": 351, "armv7l": 386, "i686": 357, "i386": 357}
_GENERIC_SYSCALL = 280
"""asm-generic/unistd.h: aarch64, riscv64, loongarch64."""

_MAX_PROGRAMS = 256
"""The kernel attaches at most 64 to one cgroup (BPF_CGROUP_MAX_PROGS); effective ones add up along the path."""

_MAX_CODE_BYTES = 8 * 65536
_INFO_BYTES = 80
"""struct bpf_prog_info up to and with `name`."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """One loaded program. `code` is its translated instructions, 8 bytes each; b"" where the kernel hides them."""

    id: int
    name: str
    code: bytes


def effective_programs(cgroup_fd: int, attach_type: int) -> tuple[int, ...]:
    """Return the ids of the programs that run for a cgroup, its own and its ancestors', in order.

    Raises Gone, or Unsupported where this kernel or these privileges do not allow the question.
    """
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    attributes = bytearray(64)
    struct.pack_into(
        "=iIIIQI", attributes, 0, cgroup_fd, attach_type, _QUERY_EFFECTIVE, 0, ctypes.addressof(ids), len(ids)
    )
    _bpf(PROG_QUERY, attributes)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return tuple(ids[:count])


def program(program_id: int) -> Program:
    """Return the program with that id. Raises Gone where it was unloaded meanwhile, Unsupported where hidden."""
    with _program_fd(program_id) as fd:
        size = struct.unpack_from("=I", _info(fd, None), 20)[0]
        code = (ctypes.c_uint8 * min(size, _MAX_CODE_BYTES))()
        info = _info(fd, code)
    shown = struct.unpack_from("=Q", info, 32)[0] != 0  # the kernel clears the pointer where it shows nothing
    name = bytes(info[64:80]).partition(b"\0")[0]
    return Program(program_id, os.fsdecode(name), bytes(code) if shown and size <= _MAX_CODE_BYTES else b"")


def _info(fd: int, code: ctypes.Array[ctypes.c_uint8] | None) -> bytearray:
    info = bytearray(_INFO_BYTES)
    if code is not None:
        struct.pack_into("=I", info, 20, len(code))
        struct.pack_into("=Q", info, 32, ctypes.addressof(code))
    target = (ctypes.c_uint8 * _INFO_BYTES).from_buffer(info)
    _bpf(OBJ_GET_INFO_BY_FD, bytearray(struct.pack("=iIQ", fd, _INFO_BYTES, ctypes.addressof(target))))
    return info


@contextmanager
def _program_fd(program_id: int) -> Iterator[int]:
    fd = _bpf(PROG_GET_FD_BY_ID, bytearray(struct.pack("=III", program_id, 0, 0)))
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
