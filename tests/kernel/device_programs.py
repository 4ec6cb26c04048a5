"""Device filters assembled by hand as runtimes do, and the bpf(2) calls to load them into the real kernel."""

from __future__ import annotations

import ctypes
import os
import struct

from governor.kernel.bpf import CGROUP_DEVICE, _bpf

PROG_LOAD, PROG_ATTACH = 5, 8
PROG_TYPE_CGROUP_DEVICE = 15
ALLOW_MULTI = 2
CHAR, BLOCK = 2, 1

Row = tuple[str, int | None, int | None, int]
"""Type, major, minor and access bits of one line."""


def insn(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | destination, offset, immediate)


def systemd_filter(rows: list[Row]) -> bytes:
    """Return the program that systemd's bpf-devices.c makes of an allow list."""
    code = [
        insn(0x61, 2, 1, 0),  # r2 = type
        insn(0x54, 2, immediate=0xFFFF),
        insn(0x61, 3, 1, 0),  # r3 = access
        insn(0x74, 3, immediate=16),
        insn(0x61, 4, 1, 4),  # r4 = major
        insn(0x61, 5, 1, 8),  # r5 = minor
    ]
    for kind, major, minor, access in rows:
        line = []
        if access != 7:
            line += [insn(0xBC, 1, 3), insn(0x54, 1, immediate=access), insn(0x5D, 1, 3)]  # r1 & access != r3: next
        line.append(insn(0x55, 2, immediate=CHAR if kind == "c" else BLOCK))
        if major is not None:
            line.append(insn(0x55, 4, immediate=major))
        if minor is not None:
            line.append(insn(0x55, 5, immediate=minor))
        line.append(insn(0x05, offset=0x7F))
        for index, each in enumerate(line):  # a jump to the next line, now that its length is known
            if each[0] in (0x5D, 0x55):
                line[index] = each[:2] + struct.pack("=h", len(line) - index - 1) + each[4:]
        code += line
    code += [insn(0xB7, 0, immediate=0), insn(0x05, offset=1)]
    for index, each in enumerate(code):
        if each[0] == 0x05 and each[2] == 0x7F:
            code[index] = insn(0x05, offset=len(code) - index - 1)
    return b"".join([*code, insn(0xB7, 0, immediate=1), insn(0x95)])


def runc_filter(rows: list[Row]) -> bytes:
    """Return the program that runc's devicefilter makes: 32 bit jumps, an exit in every block, half-word loads."""
    code = b"".join(
        [
            insn(0x69, 2, 1, 0),  # r2 = (u16) type
            insn(0x61, 3, 1, 0),
            insn(0x77, 3, immediate=16),
            insn(0x61, 4, 1, 4),
            insn(0x61, 5, 1, 8),
        ]
    )
    for kind, major, minor, access in rows:
        block = [insn(0x56, 2, immediate=CHAR if kind == "c" else BLOCK)]
        if access != 7:
            block += [insn(0xBC, 1, 3), insn(0x54, 1, immediate=access), insn(0x5E, 1, 3)]
        if major is not None:
            block.append(insn(0x56, 4, immediate=major))
        if minor is not None:
            block.append(insn(0x56, 5, immediate=minor))
        block += [insn(0xB4, 0, immediate=1), insn(0x95)]
        for index, each in enumerate(block):
            if each[0] in (0x56, 0x5E):
                block[index] = each[:2] + struct.pack("=h", len(block) - index - 1) + each[4:]
        code += b"".join(block)
    return code + insn(0xB4, 0, immediate=0) + insn(0x95)


CALLING_FILTER = insn(0x85, immediate=5) + insn(0xB7, 0, immediate=1) + insn(0x95)
"""Calls bpf_ktime_get_ns, then allows: more than the interpreter does."""


def load(code: bytes, name: bytes = b"test_devices") -> int:
    """Return the descriptor of the loaded program. Raises Unsupported."""
    text = (ctypes.c_uint8 * len(code)).from_buffer_copy(code)
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = bytearray(120)
    struct.pack_into(
        "=IIQQ",
        attributes,
        0,
        PROG_TYPE_CGROUP_DEVICE,
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(licence),
    )
    attributes[48 : 48 + len(name)] = name
    return _bpf(PROG_LOAD, attributes)


def attach(code: bytes, cgroup_fd: int, name: bytes = b"test_devices") -> None:
    """Attach a new program; it goes with the cgroup. Raises Unsupported."""
    program = load(code, name)
    try:
        _bpf(PROG_ATTACH, bytearray(struct.pack("=IIIII", cgroup_fd, program, CGROUP_DEVICE, ALLOW_MULTI, 0)))
    finally:
        os.close(program)
